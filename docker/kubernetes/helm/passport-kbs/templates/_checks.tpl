{{/* What values can only be wrong about together; the schema has the rest. */}}
{{- define "kbs.checks" -}}
{{- $v := .Values -}}
{{- $wrong := list -}}
{{- if not (regexMatch "^[a-z]([a-z0-9-]*[a-z0-9])?$" (include "kbs.fullname" .)) -}}
{{- $wrong = append $wrong (printf "the release is called %s, which no Service can be (letters, digits and dashes, a letter first): set fullnameOverride" (include "kbs.fullname" .)) -}}
{{- end -}}
{{- if and (include "kbs.isAttestationService" .) $v.ingress.enabled (eq $v.ingress.mode "reencrypt") -}}
{{- $wrong = append $wrong "ingress.mode: attestation-service knows its callers by their certificates, which would end at the ingress; use passthrough" -}}
{{- end -}}
{{- if and (include "kbs.hasAdmin" .) (not $v.admin.audience) -}}
{{- $wrong = append $wrong "admin.audience is empty: say which `aud` an administrator's token must have, or set admin.enabled=false" -}}
{{- end -}}
{{- if and (include "kbs.mints" .) (not (and $v.tokens.issuer $v.tokens.audience)) -}}
{{- $wrong = append $wrong "tokens.issuer and tokens.audience are needed: `iss` and `aud` of the passports minted here" -}}
{{- end -}}
{{- if and (include "kbs.isAttestationService" .) (ne $v.attestation.type "builtin") -}}
{{- $wrong = append $wrong "attestation.type: attestation-service verifies evidence itself; it must be builtin" -}}
{{- end -}}
{{- if and (include "kbs.isAttestationService" .) (not $v.clients.list) -}}
{{- $wrong = append $wrong "clients.list is empty: nobody could call attestation-service" -}}
{{- end -}}
{{- range $v.clients.list -}}
{{- if and .certificateName (not $v.clients.ca) -}}
{{- $wrong = append $wrong (printf "clients.ca is needed to check the certificate of %s" .name) -}}
{{- end -}}
{{- end -}}
{{- if and (include "kbs.attests" .) (eq $v.attestation.type "remote") -}}
{{- if not $v.attestation.remote.address }}{{ $wrong = append $wrong "attestation.remote.address is empty: https://host:port of the attestation service" }}{{ end -}}
{{- end -}}
{{- $needsIssuers := or (eq $v.program "kbs-resource") (and (eq $v.program "kbs") (eq $v.attestation.type "intel-trust-authority")) -}}
{{- if and $needsIssuers (not $v.passports.issuers) -}}
{{- $wrong = append $wrong "passports.issuers is empty: say whose passports are accepted" -}}
{{- end -}}
{{- range $v.passports.issuers -}}
{{- if not (or .ca .keys) }}{{ $wrong = append $wrong (printf "passports.issuers: %s needs ca or keys" .issuer) }}{{ end -}}
{{- end -}}
{{- if eq $v.storage.type "postgres" -}}
{{- if not $v.postgres.host }}{{ $wrong = append $wrong "postgres.host is empty" }}{{ end -}}
{{- if $v.redis.trial.enabled }}{{ $wrong = append $wrong "redis.trial.enabled: storage.type is postgres" }}{{ end -}}
{{- else -}}
{{- $places := 0 -}}
{{- if $v.redis.trial.enabled }}{{ $places = add1 $places }}{{ end -}}
{{- if $v.redis.sentinel.nodes }}{{ $places = add1 $places }}{{ end -}}
{{- if $v.redis.cluster.nodes }}{{ $places = add1 $places }}{{ end -}}
{{- if and (eq (int $places) 0) (not $v.redis.url) -}}
{{- $wrong = append $wrong "redis.url is empty: set it, redis.sentinel, redis.cluster, or redis.trial.enabled to try out" -}}
{{- end -}}
{{- if gt (int $places) 1 }}{{ $wrong = append $wrong "redis: only one of sentinel, cluster and trial" }}{{ end -}}
{{- if and $v.redis.trial.enabled (not $v.redis.ca) }}{{ $wrong = append $wrong "redis.ca is empty: redis.trial has TLS; say which CA made its certificate" }}{{ end -}}
{{- if and $v.redis.trial.enabled $v.redis.url }}{{ $wrong = append $wrong "redis.url has no use with redis.trial.enabled" }}{{ end -}}
{{- if and $v.redis.sentinel.nodes (not $v.redis.sentinel.masterName) }}{{ $wrong = append $wrong "redis.sentinel.masterName is empty" }}{{ end -}}
{{- if and $v.redis.ca (not $v.redis.trial.enabled) (not (hasPrefix "rediss://" $v.redis.url)) }}{{ $wrong = append $wrong "redis.ca needs redis.url to begin with rediss://" }}{{ end -}}
{{- end -}}
{{- if and $v.networkPolicy.enabled (not $v.networkPolicy.allowFrom) -}}
{{- $wrong = append $wrong "networkPolicy.allowFrom is empty, so no guest could reach the service: name who may, e.g. [{ipBlock: {cidr: 0.0.0.0/0}}] behind a load balancer, or the ingress controller's namespace" -}}
{{- end -}}
{{- if and $v.networkPolicy.enabled (not $v.networkPolicy.storage) (not $v.redis.trial.enabled) -}}
{{- $wrong = append $wrong "networkPolicy.storage is empty, so Redis or PostgreSQL could not be reached: name where it is, e.g. [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: redis}}}]" -}}
{{- end -}}
{{- if and $v.networkPolicy.enabled $v.metrics.serviceMonitor.enabled (not $v.networkPolicy.prometheus) -}}
{{- $wrong = append $wrong "networkPolicy.prometheus is empty, so Prometheus could not reach the metrics" -}}
{{- end -}}
{{- if has (int $v.metrics.port) (list 8080 50004) }}{{ $wrong = append $wrong (printf "metrics.port: %v is the port of guests or callers, who are not to read metrics" $v.metrics.port) }}{{ end -}}
{{- if and $v.metrics.serviceMonitor.enabled (not $v.metrics.enabled) }}{{ $wrong = append $wrong "metrics.serviceMonitor.enabled: metrics.enabled is false" }}{{ end -}}
{{- if and (include "kbs.wrapsKeys" .) (or $v.storage.encryption.previousKeys (not $v.storage.encryption.azureKeyVault.keyName)) -}}
{{- $wrong = append $wrong "storage.encryption.azureKeyVault needs keyName, and has no previousKeys" -}}
{{- end -}}
{{- if or (include "kbs.readsKeyVault" .) (include "kbs.mountsKeyVault" .) (include "kbs.wrapsKeys" .) -}}
{{- if not $v.workloadIdentity.enabled }}{{ $wrong = append $wrong "workloadIdentity.enabled: Azure Key Vault is reached with it" }}{{ end -}}
{{- end -}}
{{- if and (include "kbs.readsKeyVault" .) (not $v.secrets.azureKeyVault.vaultUri) }}{{ $wrong = append $wrong "secrets.azureKeyVault.vaultUri is empty" }}{{ end -}}
{{- if include "kbs.mountsKeyVault" . -}}
{{- if not (and $v.secrets.csi.keyVaultName $v.secrets.csi.objects $v.workloadIdentity.tenantId) -}}
{{- $wrong = append $wrong "secrets.csi needs keyVaultName and objects, and workloadIdentity.tenantId" -}}
{{- end -}}
{{- end -}}
{{- if and $v.workloadIdentity.enabled (not $v.workloadIdentity.clientId) }}{{ $wrong = append $wrong "workloadIdentity.clientId is empty" }}{{ end -}}
{{- range $name := list "tls" "tokenSigner" -}}
{{- $certificate := index $v.certManager $name -}}
{{- if and $certificate.enabled (not $certificate.issuer.name) }}{{ $wrong = append $wrong (printf "certManager.%s.issuer.name is empty" $name) }}{{ end -}}
{{- end -}}
{{- if and (or $v.certManager.tls.enabled $v.ingress.enabled) (not $v.hostnames) -}}
{{- $wrong = append $wrong "hostnames is empty: the certificate and the ingress need the names that guests use" -}}
{{- end -}}
{{- if and $v.certManager.tokenSigner.enabled (not (include "kbs.mints" .)) -}}
{{- $wrong = append $wrong "certManager.tokenSigner.enabled: no passports are minted here" -}}
{{- end -}}
{{- if and $v.ingress.enabled (eq $v.ingress.mode "reencrypt") (not $v.ingress.tlsSecretName) -}}
{{- $wrong = append $wrong "ingress.tlsSecretName is empty: the ingress needs a certificate of its own in mode reencrypt" -}}
{{- end -}}
{{- if $wrong }}{{ fail (printf "\n\nThese values cannot work:\n- %s\n" (join "\n- " $wrong)) }}{{ end -}}
{{- end }}
