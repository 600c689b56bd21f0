# Default attestation policy for NVSwitches (class "switch"). Reads the claims that NVIDIA's remote verifier makes.
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

hardware := 2 if {
	input.nvidia["x-nvidia-switch-attestation-report-cert-chain"]["x-nvidia-cert-ocsp-status"] == "good"
	input.nvidia["x-nvidia-switch-attestation-report-cert-chain"]["x-nvidia-cert-status"] == "valid"
	input.nvidia["x-nvidia-switch-attestation-report-cert-chain-fwid-match"] == true
	input.nvidia["x-nvidia-switch-attestation-report-parsed"] == true
	input.nvidia["x-nvidia-switch-attestation-report-signature-verified"] == true
	input.nvidia["x-nvidia-switch-arch-check"] == true
}

configuration := 96 if {
	is_string(input.nvidia.dbgstat)
	input.nvidia.dbgstat != "disabled"
} else := 2 if {
	input.nvidia.secboot == true
	input.nvidia.dbgstat == "disabled"
	input.nvidia["x-nvidia-switch-bios-version"] in query_reference_value("allowed_switch_bios_versions")
} else := 3 if {
	input.nvidia.secboot == true
	input.nvidia.dbgstat == "disabled"
}

executables := 3 if {
	input.nvidia["x-nvidia-switch-bios-rim-cert-chain"]["x-nvidia-cert-ocsp-status"] == "good"
	input.nvidia["x-nvidia-switch-bios-rim-cert-chain"]["x-nvidia-cert-status"] == "valid"
	input.nvidia["x-nvidia-switch-bios-rim-fetched"] == true
	input.nvidia["x-nvidia-switch-bios-rim-measurements-available"] == true
	input.nvidia["x-nvidia-switch-bios-rim-schema-validated"] == true
	input.nvidia["x-nvidia-switch-bios-rim-signature-verified"] == true
	input.nvidia["x-nvidia-switch-bios-rim-version-match"] == true
	input.nvidia.measres == "success"
}
