/** Files as an operator of Trustee has them: the passport mode quick start (spec 01 §10) and policies (spec 01 §5.4). */

/** KBS1 of the quick start. `50001` is the only thing that the tests change. */
export const quickStartKbs1 = `[http_server]
sockets = ["127.0.0.1:50001"]
insecure_http = true

[admin]
authorization_mode = "DenyAll"

[attestation_token]
trusted_certs_paths = ["work/ca-cert.pem"]

[attestation_service]
type = "coco_as_builtin"

[attestation_service.attestation_token_broker.signer]
key_path = "work/token.key"
cert_path = "work/token-cert-chain.pem"
`

/** KBS2 of the quick start. `50002` is the only thing that the tests change. */
export const quickStartKbs2 = `[http_server]
sockets = ["127.0.0.1:50002"]
insecure_http = true

[admin]
authorization_mode = "AuthenticatedAuthorization"

[admin.authentication.bearer_jwt]
identity_providers = [{ issuer = "issuer", audience = "kbs", public_key_uri = "work/kbs.pem" }]

[admin.authorization.regex_acl]
acls = [{ role = "admin", allowed_endpoints = "^/kbs/.+$" }]

[attestation_token]
trusted_certs_paths = ["work/ca-cert.pem"]

[storage_backend]
storage_type = "LocalFs"
[storage_backend.backends.local_fs]
dir_path = "work/storage"

[[plugins]]
name = "resource"
storage_backend_type = "kvstorage"
`

/** Both halves, in the manner of Trustee's all-in-one configuration. */
export const allInOne = `session_storage_type = "LocalFs"

[http_server]
sockets = ["127.0.0.1:8080"]
insecure_http = true
payload_request_size = 2
worker_count = 4

[admin]
authorization_mode = "AuthenticatedAuthorization"

[admin.authentication.bearer_jwt]
identity_providers = [{ issuer = "issuer", audience = "kbs", public_key_uri = "work/kbs.pem" }]

[admin.authorization.regex_acl]
acls = [
    { role = "admin", allowed_endpoints = "^/kbs/.+$" },
    { role = "secrets", allowed_endpoints = "^/kbs/v0/resource/.+$" },
]

[attestation_token]
trusted_certs_paths = []

[attestation_service]
type = "coco_as_builtin"
work_dir = "work/attestation-service"
timeout = 5

[attestation_service.rvps_config]
type = "BuiltIn"

[attestation_service.attestation_token_broker]
type = "Ear"
duration_min = 5

[storage_backend]
storage_type = "LocalFs"

[storage_backend.backends.local_fs]
dir_path = "work/storage"

[[plugins]]
name = "resource"
storage_backend_type = "kvstorage"
`

/** A table that may be appended to `allInOne`: a signing key that outlives the process. */
export const signerTable = `
[attestation_service.attestation_token_broker.signer]
key_path = "work/token.key"
`

export const trusteePolicies = {
  default: `package policy

# default: real TEE evidence only, resource plugin only
default allow := false

sample_evidence if input.submods.cpu0["ear.veraison.annotated-evidence"].sample

allow if {
	data.plugin == "resource"
	not sample_evidence
}
`,
  'allow-all': `package policy

# allow-all
default allow := false

allow if data.plugin == "resource"
`,
  'deny-all': `package policy

default allow := false
`,
  affirming: `package policy

# affirming, Trustee-compatible
default allow := false

blocked if {
	some s in input.submods
	s["ear.status"] != "affirming"
}

allow if {
	count(input.submods) > 0
	not blocked
}
`,
  strict: `package policy

# strict: what we should recommend instead
default allow := false

affirming_submods := [n | some n, s in input.submods; s["ear.status"] == "affirming"]

allow if {
	data.plugin == "resource"
	input.submods.cpu0
	count(affirming_submods) == count(input.submods)
}
`,
  /** The older ways of writing that policies in the field use (spec 01 §4.4). */
  'in the older style': `package policy

import rego.v1

default allow = false

plugin = data.plugin

path = data["resource-path"]

executables_recognised if {
	some name
	input.submods[name]["ear.trustworthiness-vector"].executables <= 3
}

allow if {
	plugin == "resource"
	count(path) == 3
	path[0] == "one"
	path[1] in ["two", "three"]
	input["submods"]["cpu0"]["ear.status"] in {"affirming", "warning"}
	executables_recognised
	not data.query.refuse
}
`,
} as const

export type TrusteePolicy = keyof typeof trusteePolicies

/** An attestation policy of an operator: AR4SI numbers by reference value (spec 02 §1). */
export const operatorCpuPolicy = `package policy

import rego.v1

default executables := 33

default hardware := 97

default configuration := 36

trust_claims := {
	"executables": executables,
	"hardware": hardware,
	"configuration": configuration,
}

executables := 3 if input.sample

configuration := 2 if input.sample

hardware := 2 if {
	input.sample.svn in query_reference_value("operator_svn")
}
`

/** A reference value as Trustee keeps it (spec 01 §1.5). */
export function referenceValueRecord(name: string, value: unknown): string {
  const expiration = `${new Date().getUTCFullYear() + 1}-01-01T00:00:00Z`
  return JSON.stringify({ version: '0.1.0', name, expiration, value })
}
