{{/* What the program does, as "true" or nothing. */}}

{{- define "kbs.attests" -}}
{{- if ne .Values.program "kbs-resource" }}true{{ end -}}
{{- end }}

{{- define "kbs.releases" -}}
{{- if has .Values.program (list "kbs-resource" "kbs") }}true{{ end -}}
{{- end }}

{{- define "kbs.isAttestationService" -}}
{{- if eq .Values.program "attestation-service" }}true{{ end -}}
{{- end }}

{{- define "kbs.mints" -}}
{{- if and (include "kbs.attests" .) (eq .Values.attestation.type "builtin") }}true{{ end -}}
{{- end }}

{{- define "kbs.hasAdmin" -}}
{{- if and .Values.admin.enabled (not (include "kbs.isAttestationService" .)) }}true{{ end -}}
{{- end }}

{{- define "kbs.readsKeyVault" -}}
{{- if and (include "kbs.releases" .) (eq .Values.secrets.backend "azure-key-vault") }}true{{ end -}}
{{- end }}

{{- define "kbs.wrapsKeys" -}}
{{- if and .Values.storage.encryption.enabled .Values.storage.encryption.azureKeyVault.vaultUri }}true{{ end -}}
{{- end }}

{{- define "kbs.mountsKeyVault" -}}
{{- if and (include "kbs.releases" .) .Values.secrets.csi.enabled }}true{{ end -}}
{{- end }}

{{/* Whether something at a public address is asked: the vendors of builtin attestation, Intel, Key Vault, key sets. */}}
{{- define "kbs.publicHttps" -}}
{{- if not (kindIs "invalid" .Values.networkPolicy.publicHttps) }}
{{- if .Values.networkPolicy.publicHttps }}true{{ end }}
{{- else }}
{{- $asks := or (include "kbs.mints" .) (include "kbs.readsKeyVault" .) (include "kbs.wrapsKeys" .) -}}
{{- if and (include "kbs.attests" .) (eq .Values.attestation.type "intel-trust-authority") }}{{ $asks = true }}{{ end -}}
{{- range .Values.passports.issuers }}{{ if .keys }}{{ $asks = true }}{{ end }}{{ end -}}
{{- if $asks }}true{{ end }}
{{- end }}
{{- end }}

{{/* The ports that storage is asked on, as a JSON list. */}}
{{- define "kbs.storagePorts" -}}
{{- $ports := list -}}
{{- if eq .Values.storage.type "postgres" -}}
{{- $ports = list (int .Values.postgres.port) -}}
{{- else if .Values.redis.trial.enabled -}}
{{- $ports = list 6379 -}}
{{- else if .Values.redis.cluster.nodes -}}
{{- range .Values.redis.cluster.nodes }}{{ $ports = append $ports (regexFind "[0-9]+$" . | int) }}{{ end -}}
{{- else -}}
{{- range .Values.redis.sentinel.nodes }}{{ $ports = append $ports (regexFind "[0-9]+$" . | int) }}{{ end -}}
{{- $port := regexFind ":[0-9]+(/|$)" .Values.redis.url | trimPrefix ":" | trimSuffix "/" -}}
{{- $ports = append $ports (default 6379 $port | int) -}}
{{- end -}}
{{- $ports | uniq | toJson -}}
{{- end }}
