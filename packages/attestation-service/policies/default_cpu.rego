# Default attestation policy for CPU TEEs (class "cpu").
#
# Input: the annotated evidence of one attester: the claims under the name of its TEE, and beside them report_data,
# runtime_data_claims, init_data, init_data_claims. Reference values come from query_reference_value(name), which
# answers null for a name that is unknown or expired. `null` contains nothing, so nothing is affirming without values.
#
# Claims compared with "==" are booleans and numbers that a verifier makes, never null: an unknown reference value does
# not equal them. Rules that ask for reference values begin with the TEE that they are for, so that no others are looked up.
#
# Values are AR4SI: 2..31 affirming, 32..95 warning, 96..127 contraindicated. Defaults: unrecognised executables (33),
# unrecognised hardware (97), configuration not known (36). Debug, wherever a TEE reports it, is 96.
#
# docs/attestation.md lists every reference value with its type.
package policy

import rego.v1

default executables := 33

default hardware := 97

default configuration := 36

trust_claims := {
	"executables": executables,
	"hardware": hardware,
	"configuration": configuration,
	"file-system": 0,
	"instance-identity": 0,
	"runtime-opaque": 0,
	"storage-opaque": 0,
	"sourced-data": 0,
}

##### Sample (development only)

executables := 3 if {
	input.sample
	input.sample.launch_digest in query_reference_value("launch_digest")
}

hardware := 2 if {
	input.sample
	input.sample.svn in query_reference_value("svn")
	is_number(input.sample.platform_version.major)
	input.sample.platform_version.major == query_reference_value("major_version")

	# null and strings compare as well, so the types are tested first
	is_number(input.sample.platform_version.minor)
	minimum_minor := query_reference_value("minimum_minor_version")
	is_number(minimum_minor)
	input.sample.platform_version.minor >= minimum_minor
}

configuration := 96 if {
	input.sample.debug == true
} else := 2 if {
	input.sample.debug == false
}

##### AMD SEV-SNP

executables := 3 if {
	input.snp
	input.snp.measurement in query_reference_value("snp_launch_measurement")
}

hardware := 2 if {
	input.snp
	input.snp.reported_tcb_bootloader in query_reference_value("snp_bootloader")
	input.snp.reported_tcb_microcode in query_reference_value("snp_microcode")
	input.snp.reported_tcb_snp in query_reference_value("snp_snp_svn")
	input.snp.reported_tcb_tee in query_reference_value("snp_tee_svn")
}

configuration := 96 if {
	input.snp.policy_debug_allowed == true
} else := 2 if {
	input.snp.policy_debug_allowed == false
	input.snp.policy_migrate_ma == false
	input.snp.platform_smt_enabled == query_reference_value("snp_smt_enabled")
	input.snp.platform_tsme_enabled == query_reference_value("snp_tsme_enabled")
	input.snp.policy_abi_major == query_reference_value("snp_guest_abi_major")
	input.snp.policy_abi_minor == query_reference_value("snp_guest_abi_minor")
	input.snp.policy_single_socket == query_reference_value("snp_single_socket")
	input.snp.policy_smt_allowed == query_reference_value("snp_smt_allowed")
} else := 3 if {
	input.snp.policy_debug_allowed == false
	input.snp.policy_migrate_ma == false
}

##### AMD SEV-SNP with the virtual TPM of Azure. All claims of this TEE are strings.

executables := 3 if {
	input["az-snp-vtpm"]
	input["az-snp-vtpm"].measurement in query_reference_value("measurement")
	input["az-snp-vtpm"].tpm.pcr11 in query_reference_value("snp_pcr11")
}

hardware := 2 if {
	input["az-snp-vtpm"]
	input["az-snp-vtpm"].reported_tcb_bootloader in query_reference_value("tcb_bootloader")
	input["az-snp-vtpm"].reported_tcb_microcode in query_reference_value("tcb_microcode")
	input["az-snp-vtpm"].reported_tcb_snp in query_reference_value("tcb_snp")
	input["az-snp-vtpm"].reported_tcb_tee in query_reference_value("tcb_tee")
}

configuration := 96 if {
	input["az-snp-vtpm"].policy_debug_allowed in {"true", true}
} else := 2 if {
	input["az-snp-vtpm"].policy_debug_allowed == "false"
	input["az-snp-vtpm"].policy_migrate_ma == "false"
	input["az-snp-vtpm"].platform_smt_enabled in query_reference_value("smt_enabled")
	input["az-snp-vtpm"].platform_tsme_enabled in query_reference_value("tsme_enabled")
	input["az-snp-vtpm"].policy_abi_major in query_reference_value("abi_major")
	input["az-snp-vtpm"].policy_abi_minor in query_reference_value("abi_minor")
	input["az-snp-vtpm"].policy_single_socket in query_reference_value("single_socket")
	input["az-snp-vtpm"].policy_smt_allowed in query_reference_value("smt_allowed")
}

##### Intel TDX

# Direct boot: kernel and parameters are recognised in the log. 4 (Grub boot): the two registers alone.
executables := 3 if {
	input.tdx
	input.tdx.quote.body.rtmr_1 in query_reference_value("rtmr_1")
	input.tdx.quote.body.rtmr_2 in query_reference_value("rtmr_2")
	tdx_kernel_recognised
	tdx_kernel_parameters_recognised
} else := 4 if {
	input.tdx
	input.tdx.quote.body.rtmr_1 in query_reference_value("rtmr_1")
	input.tdx.quote.body.rtmr_2 in query_reference_value("rtmr_2")
}

# Only SHA-384 digests of entries of registers 1 to 4 (RTMR0 to RTMR3) have been replayed against the quote. The
# kernel is measured into RTMR1 (register 2), its parameters into RTMR2 (register 3).
tdx_kernel_recognised if {
	some event in input.tdx.uefi_event_logs
	event.index == 2
	event.type_name == "EV_EFI_BOOT_SERVICES_APPLICATION"
	"File(kernel)" in event.details.device_paths
	some digest in event.digests
	digest.alg == "SHA-384"
	digest.digest == query_reference_value("tdvfkernel")
}

tdx_kernel_parameters_recognised if {
	some event in input.tdx.uefi_event_logs
	event.index == 3
	event.type_name == "EV_EVENT_TAG"
	event.details.string == "LOADED_IMAGE::LoadOptions"
	some digest in event.digests
	digest.alg == "SHA-384"
	digest.digest == query_reference_value("tdvfkernelparams")
}

hardware := 2 if {
	input.tdx.quote.header.tee_type == "81000000"
	input.tdx.quote.header.vendor_id == "939a7233f79c4ca9940a0db3957f0607"
	input.tdx.quote.body.mr_td in query_reference_value("mr_td")
	input.tdx.tcb_status == "UpToDate"
	input.tdx.collateral_expiration_status == "0"
}

configuration := 96 if {
	input.tdx.td_attributes.debug == true
} else := 2 if {
	input.tdx.td_attributes.debug == false
	input.tdx.quote.body.xfam in query_reference_value("xfam")
}

##### Intel TDX with the virtual TPM of Azure

executables := 3 if {
	input["az-tdx-vtpm"]
	input["az-tdx-vtpm"].tpm.pcr11 in query_reference_value("tdx_pcr11")
}

hardware := 2 if {
	input["az-tdx-vtpm"].quote.header.tee_type == "81000000"
	input["az-tdx-vtpm"].quote.header.vendor_id == "939a7233f79c4ca9940a0db3957f0607"
	input["az-tdx-vtpm"].quote.body.mr_td in query_reference_value("mr_td")
	input["az-tdx-vtpm"].tcb_status == "UpToDate"
	input["az-tdx-vtpm"].collateral_expiration_status == "0"
}

configuration := 96 if {
	input["az-tdx-vtpm"].td_attributes.debug in {true, "true"}
} else := 2 if {
	input["az-tdx-vtpm"].td_attributes.debug == false
	input["az-tdx-vtpm"].quote.body.xfam in query_reference_value("xfam")
}

##### Intel SGX

# Either the enclave itself is listed, or who signed it, which product it is, and which security version.
executables := 3 if {
	input.sgx
	input.sgx.body.mr_enclave in query_reference_value("sgx_mr_enclave")
}

executables := 3 if {
	input.sgx
	input.sgx.body.mr_signer in query_reference_value("sgx_mr_signer")
	input.sgx.body.isv_prod_id in query_reference_value("sgx_isv_prod_id")
	input.sgx.body.isv_svn in query_reference_value("sgx_isv_svn")
}

# 32: genuine, with vulnerabilities that software or configuration has to mitigate
hardware := 2 if {
	sgx_genuine
	input.sgx.tcb_status == "UpToDate"
} else := 32 if {
	sgx_genuine
	input.sgx.tcb_status in {"SWHardeningNeeded", "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded"}
}

sgx_genuine if {
	input.sgx.header.vendor_id == "939a7233f79c4ca9940a0db3957f0607"
	input.sgx.collateral_expiration_status == "0"
}

# DEBUG is bit 1 of the flags: of the second hexadecimal digit, since the bytes are in little-endian order.
configuration := 96 if {
	substring(input.sgx.body["attributes.flags"], 1, 1) in {"2", "3", "6", "7", "a", "b", "e", "f"}
} else := 2 if {
	sgx_not_debuggable
	input.sgx.body["attributes.xfrm"] in query_reference_value("sgx_xfrm")
} else := 3 if {
	sgx_not_debuggable
}

sgx_not_debuggable if {
	substring(input.sgx.body["attributes.flags"], 1, 1) in {"0", "1", "4", "5", "8", "9", "c", "d"}
}

##### Hygon CSV

executables := 3 if {
	input.csv
	input.csv.measure in query_reference_value("csv_measure")
}

# A version 1 report can be changed as a whole by whoever holds one: only a pinned measurement fixes its other claims,
# and it names no firmware build. It counts where the operator lists its version.
csv_report_sound if {
	input.csv.version == "2"
}

csv_report_sound if {
	input.csv.version == "1"
	input.csv.measure in query_reference_value("csv_measure")
}

hardware := 2 if {
	input.csv.version == "2"
	input.csv.build in query_reference_value("csv_build")
}

hardware := 2 if {
	input.csv.version == "1"
	input.csv.version in query_reference_value("csv_report_version")
	csv_report_sound
}

configuration := 96 if {
	input.csv.policy.nodbg == 0
} else := 2 if {
	csv_report_sound
	input.csv.policy.nodbg == 1
	input.csv.policy.noks in query_reference_value("csv_policy_noks")
	input.csv.policy.es in query_reference_value("csv_policy_es")
	input.csv.policy.nosend in query_reference_value("csv_policy_nosend")
	input.csv.policy.csv3 in query_reference_value("csv_policy_csv3")
} else := 3 if {
	csv_report_sound
	input.csv.policy.nodbg == 1
	input.csv.policy.nosend == 1
}

##### Generic TPM

# The attestation key comes with the evidence and is endorsed by nobody but this list.
hardware := 2 if {
	input.tpm
	input.tpm.ak_public in query_reference_value("trusted_aks")
}

executables := 3 if {
	input.tpm
	input.tpm.pcr11 in query_reference_value("tpm_pcr11")
	input.tpm.ak_public in query_reference_value("trusted_aks")
}

configuration := 0 if {
	input.tpm
}

##### IBM Secure Execution: the verifier itself decides all that can be decided

executables := 3 if {
	input.se
}

hardware := 2 if {
	input.se
}

configuration := 2 if {
	input.se
}

##### Identity of the workload, from measured init-data

extensions := [{
	"name": "ear.trustee.identifiers",
	"key": -18,
	"value": {"validated": identifiers},
}]

identifiers := object.union_n([container_images, container_uids])

images := [image |
	container := input.init_data_claims.agent_policy_claims.containers[_]
	image := container.OCI.Annotations["io.kubernetes.cri.image-name"]
]

container_images := {"container_images": images} if {
	count(images) > 0
} else := {}

uids := [uid |
	container := input.init_data_claims.agent_policy_claims.containers[_]
	uid := container.OCI.Process.User.UID
]

container_uids := {"container_uids": uids} if {
	count(uids) > 0
} else := {}
