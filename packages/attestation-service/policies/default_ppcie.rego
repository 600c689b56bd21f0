# Default attestation policy for a protected-PCIe assembly (class "ppcie"): the verifier has found eight GPUs and four
# switches that name each other. What each of them is, their own submods say.
package policy

import rego.v1

default configuration := 36

trust_claims := {
	"executables": 0,
	"hardware": 0,
	"configuration": configuration,
	"file-system": 0,
	"instance-identity": 0,
	"runtime-opaque": 0,
	"storage-opaque": 0,
	"sourced-data": 0,
}

configuration := 2 if {
	input.nvidia.gpu_count == 8
	input.nvidia.switch_count == 4
}
