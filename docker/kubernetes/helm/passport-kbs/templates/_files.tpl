{{/*
The files at /run/secrets/kbs, as the sources of a projected volume: {items: [{kind, name, key, path}]}.
Mounted as a whole, not file by file, so that a changed Secret reaches the running program.
*/}}
{{- define "kbs.files" -}}
{{- $files := list -}}
{{- $file := dict -}}
{{- $files = append $files (dict "secretName" .Values.tls.secretName "key" "tls.key" "path" "tls.key") -}}
{{- $files = append $files (dict "secretName" .Values.tls.secretName "key" "tls.crt" "path" "tls.pem") -}}
{{- if include "kbs.hasAdmin" . -}}
{{- $files = append $files (merge (dict "path" "admin.pub.pem") .Values.admin.publicKey) -}}
{{- end -}}
{{- if include "kbs.mints" . -}}
{{- $signer := .Values.tokens.signer -}}
{{- $made := .Values.certManager.tokenSigner.enabled -}}
{{- $files = append $files (dict "secretName" $signer.secretName "key" (ternary "tls.key" $signer.key $made) "path" "token.key") -}}
{{- $files = append $files (dict "secretName" $signer.secretName "key" (ternary "tls.crt" $signer.chain $made) "path" "token-chain.pem") -}}
{{- else if include "kbs.attests" . -}}
{{- $files = append $files (merge (dict "path" "session.key") .Values.attestation.sessionKey) -}}
{{- end -}}
{{- if and (include "kbs.attests" .) (eq .Values.attestation.type "intel-trust-authority") -}}
{{- $files = append $files (merge (dict "path" "intel-trust-authority.key") .Values.attestation.intelTrustAuthority.apiKey) -}}
{{- end -}}
{{- if and (include "kbs.attests" .) (eq .Values.attestation.type "remote") -}}
{{- with .Values.attestation.remote -}}
{{- if .ca }}{{ $files = append $files (merge (dict "path" "attestation-service-ca.pem") .ca) }}{{ end -}}
{{- if .token }}{{ $files = append $files (merge (dict "path" "attestation-service.token") .token) }}{{ end -}}
{{- if .clientCertificate.secretName -}}
{{- $files = append $files (dict "secretName" .clientCertificate.secretName "key" "tls.key" "path" "attestation-client.key") -}}
{{- $files = append $files (dict "secretName" .clientCertificate.secretName "key" "tls.crt" "path" "attestation-client.pem") -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $index, $issuer := .Values.passports.issuers -}}
{{- if $issuer.ca }}{{ $files = append $files (merge (dict "path" (printf "passport-issuer-%d-ca.pem" $index)) $issuer.ca) }}{{ end -}}
{{- end -}}
{{- if include "kbs.isAttestationService" . -}}
{{- if .Values.clients.ca }}{{ $files = append $files (merge (dict "path" "clients-ca.pem") .Values.clients.ca) }}{{ end -}}
{{- range .Values.clients.list -}}
{{- if .token }}{{ $files = append $files (merge (dict "path" (printf "client-%s.token" .name)) .token) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if eq .Values.storage.type "postgres" -}}
{{- $files = append $files (merge (dict "path" "postgres.password") .Values.postgres.password) -}}
{{- if .Values.postgres.ca }}{{ $files = append $files (merge (dict "path" "postgres-ca.pem") .Values.postgres.ca) }}{{ end -}}
{{- else -}}
{{- with .Values.redis -}}
{{- $files = append $files (merge (dict "path" "redis.password") .password) -}}
{{- if .ca }}{{ $files = append $files (merge (dict "path" "redis-ca.pem") .ca) }}{{ end -}}
{{- if .sentinel.password }}{{ $files = append $files (merge (dict "path" "sentinel.password") .sentinel.password) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.storage.encryption.enabled (not .Values.storage.encryption.azureKeyVault.vaultUri) -}}
{{- $files = append $files (merge (dict "path" "storage.key") .Values.storage.encryption.key) -}}
{{- range $index, $key := .Values.storage.encryption.previousKeys -}}
{{- $files = append $files (merge (dict "path" (printf "storage-previous-%d.key" $index)) $key) -}}
{{- end -}}
{{- end -}}
{{- range .Values.extraFiles }}{{ $files = append $files . }}{{ end -}}
{{- $paths := list -}}
{{- range $files -}}
{{- if has .path $paths }}{{ fail (printf "two files are called %s at /run/secrets/kbs: give one of extraFiles another path" .path) }}{{ end -}}
{{- $paths = append $paths .path -}}
{{- end -}}
{{- dict "files" $files | toJson -}}
{{- end }}

{{- define "kbs.projections" -}}
{{- range (include "kbs.files" . | fromJson).files }}
{{- if .configMapName }}
- configMap:
    name: {{ .configMapName }}
{{- else }}
- secret:
    name: {{ .secretName }}
{{- end }}
    items:
      - key: {{ .key }}
        path: {{ .path }}
{{- end }}
{{- end }}
