/** Resource policies that an operator can start from (spec 01 §5.4). */

/** Denies everything. */
const denyAll = `# Denies every request.
package policy

default allow := false
`

/** The default: the resource plugin only, and every submodule of the token affirming. */
const affirming = `# Releases resources to guests of which every attested device is affirming.
# A token without a CPU submodule, or with a submodule that does not say how it was appraised, is refused.
package policy

default allow := false

affirming_submods := [name |
	some name, submod in input.submods
	submod["ear.status"] == "affirming"
]

allow if {
	data.plugin == "resource"
	input.submods.cpu0
	count(affirming_submods) == count(input.submods)
}
`

/** Any valid token. Not for production. */
const allowAll = `# Releases resources to every holder of a valid token, whatever was attested. Only for trying things out.
package policy

default allow := false

allow if data.plugin == "resource"
`

/** The default of Trustee: anything but evidence of the sample TEE. */
const trusteeDefault = `# As Trustee's default: releases resources unless the evidence is of the sample TEE.
# It does not look at ear.status, so guests that were appraised as contraindicated pass too.
package policy

default allow := false

sample_evidence if input.submods.cpu0["ear.veraison.annotated-evidence"].sample

allow if {
	data.plugin == "resource"
	not sample_evidence
}
`

/** Texts by name; see \`docs/rego.md\`. */
export const presets = { denyAll, affirming, allowAll, trusteeDefault } as const

export type PresetName = keyof typeof presets
