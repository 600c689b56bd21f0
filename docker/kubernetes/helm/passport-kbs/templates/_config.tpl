{{/* The program's configuration, as docs/configuration.md has it, in YAML. */}}
{{- define "kbs.derivedConfig" -}}
{{- $files := "/run/secrets/kbs" -}}
profile: production
http_server:
  sockets: ["0.0.0.0:8080"]
  private_key: {{ $files }}/tls.key
  certificate: {{ $files }}/tls.pem
  drain_timeout_ms: {{ mul 1000 (int .Values.drainSeconds) }}
metrics:
  enabled: {{ .Values.metrics.enabled }}
  {{- if .Values.metrics.enabled }}
  sockets: ["0.0.0.0:{{ int .Values.metrics.port }}"]
  insecure_http: {{ not .Values.metrics.tls }}
  {{- end }}
{{- if not (include "kbs.isAttestationService" .) }}
admin:
  {{- if .Values.admin.enabled }}
  authorization_mode: AuthenticatedAuthorization
  authentication:
    bearer_jwt:
      identity_providers:
        - issuer: {{ .Values.admin.issuer | quote }}
          audience: {{ .Values.admin.audience | quote }}
          public_key_uri: {{ $files }}/admin.pub.pem
  authorization:
    regex_acl:
      acls:
        - role: {{ .Values.admin.role | quote }}
          allowed_endpoints: {{ .Values.admin.allowedEndpoints | quote }}
  {{- else }}
  authorization_mode: DenyAll
  {{- end }}
{{- else }}
attestation_api:
  grpc_sockets: ["0.0.0.0:50004"]
  {{- if .Values.clients.ca }}
  client_ca: {{ $files }}/clients-ca.pem
  {{- end }}
  clients:
    {{- range .Values.clients.list }}
    - name: {{ .name | quote }}
      scopes: {{ toJson .scopes }}
      {{- if .certificateName }}
      certificate_name: {{ .certificateName | quote }}
      {{- end }}
      {{- if .token }}
      token_file: {{ $files }}/client-{{ .name }}.token
      {{- end }}
    {{- end }}
{{- end }}
{{- if include "kbs.attests" . }}
attestation_service:
  {{- include "kbs.attestationConfig" . | nindent 2 }}
{{- end }}
{{- $ownPassports := and (eq .Values.program "kbs") (include "kbs.mints" .) }}
{{- if and (include "kbs.releases" .) (not $ownPassports) .Values.passports.issuers }}
attestation_token:
  issuers:
    {{- range $index, $issuer := .Values.passports.issuers }}
    - issuer: {{ $issuer.issuer | quote }}
      {{- if $issuer.audience }}
      audience: {{ $issuer.audience | quote }}
      {{- end }}
      {{- if $issuer.ca }}
      certs: [{{ $files }}/passport-issuer-{{ $index }}-ca.pem]
      {{- end }}
      {{- if $issuer.keys }}
      jwk_sets: {{ toJson $issuer.keys }}
      {{- end }}
    {{- end }}
{{- end }}
storage_backend:
  {{- include "kbs.storageConfig" . | nindent 2 }}
{{- if include "kbs.releases" . }}
plugins:
  - name: resource
    {{- if include "kbs.readsKeyVault" . }}
    storage_backend_type: AzureKeyVault
    vault_uri: {{ .Values.secrets.azureKeyVault.vaultUri | quote }}
    {{- if .Values.secrets.azureKeyVault.names }}
    names: {{ toJson .Values.secrets.azureKeyVault.names }}
    {{- end }}
    {{- if .Values.secrets.azureKeyVault.allowWrite }}
    allow_write: true
    {{- end }}
    {{- else }}
    storage_backend_type: KvStorage
    {{- end }}
    {{- if include "kbs.mountsKeyVault" . }}
    mounts:
      - prefix: {{ .Values.secrets.csi.prefix | quote }}
        directory: /mnt/secrets-store
    {{- end }}
{{- end }}
{{- end }}

{{- define "kbs.attestationConfig" -}}
{{- $files := "/run/secrets/kbs" -}}
{{- if eq .Values.attestation.type "builtin" -}}
type: coco_as_builtin
attestation_token_broker:
  issuer_name: {{ .Values.tokens.issuer | quote }}
  audience: {{ .Values.tokens.audience | quote }}
  duration_min: {{ int .Values.tokens.minutes }}
  signer:
    key_path: {{ $files }}/token.key
    cert_path: {{ $files }}/token-chain.pem
{{- else if eq .Values.attestation.type "remote" -}}
{{- with .Values.attestation.remote -}}
type: coco_as_grpc
as_addr: {{ .address | quote }}
{{- if .keys }}
jwk_set_uri: {{ .keys | quote }}
{{- end }}
{{- if .issuer }}
issuer: {{ .issuer | quote }}
{{- end }}
{{- if .ca }}
ca: {{ $files }}/attestation-service-ca.pem
{{- end }}
{{- if .clientCertificate.secretName }}
client_certificate: {{ $files }}/attestation-client.pem
client_key: {{ $files }}/attestation-client.key
{{- end }}
{{- if .token }}
token_file: {{ $files }}/attestation-service.token
{{- end }}
session_key_path: {{ $files }}/session.key
{{- end }}
{{- else -}}
{{- with .Values.attestation.intelTrustAuthority -}}
type: intel_ta
base_url: {{ .baseUrl | quote }}
certs_file: {{ .keys | quote }}
api_key_file: {{ $files }}/intel-trust-authority.key
policy_ids: {{ toJson .policyIds }}
session_key_path: {{ $files }}/session.key
{{- end }}
{{- end }}
{{- end }}

{{- define "kbs.storageConfig" -}}
{{- $files := "/run/secrets/kbs" -}}
{{- if eq .Values.storage.type "postgres" -}}
storage_type: Postgres
backends:
  postgres:
    host: {{ .Values.postgres.host | quote }}
    port: {{ int .Values.postgres.port }}
    db: {{ .Values.postgres.db | quote }}
    username: {{ .Values.postgres.username | quote }}
    password_file: {{ $files }}/postgres.password
    {{- if .Values.postgres.ca }}
    tls_ca: {{ $files }}/postgres-ca.pem
    {{- end }}
{{- else -}}
storage_type: Redis
backends:
  redis:
    {{- with .Values.redis }}
    {{- if .trial.enabled }}
    url: rediss://{{ include "kbs.redisName" $ }}:6379
    {{- else if .url }}
    url: {{ .url | quote }}
    {{- end }}
    {{- $user := ternary "kbs" .username .trial.enabled }}
    {{- if $user }}
    username: {{ $user | quote }}
    {{- end }}
    password_file: {{ $files }}/redis.password
    {{- if .ca }}
    tls_ca: {{ $files }}/redis-ca.pem
    {{- end }}
    {{- $prefix := ternary "kbs:" .keyPrefix .trial.enabled }}
    {{- if $prefix }}
    key_prefix: {{ $prefix | quote }}
    {{- end }}
    {{- if .sentinel.nodes }}
    sentinel:
      master_name: {{ .sentinel.masterName | quote }}
      nodes: {{ toJson .sentinel.nodes }}
      {{- if .sentinel.username }}
      username: {{ .sentinel.username | quote }}
      {{- end }}
      {{- if .sentinel.password }}
      password_file: {{ $files }}/sentinel.password
      {{- end }}
    {{- end }}
    {{- if .cluster.nodes }}
    cluster:
      nodes: {{ toJson .cluster.nodes }}
    {{- end }}
    {{- end }}
{{- end }}
{{- with .Values.storage.encryption }}
{{- if .enabled }}
encryption:
  {{- if .azureKeyVault.vaultUri }}
  azure_key_vault:
    vault_uri: {{ .azureKeyVault.vaultUri | quote }}
    key_name: {{ .azureKeyVault.keyName | quote }}
  {{- else }}
  key_file: {{ $files }}/storage.key
  {{- end }}
  {{- if .previousKeys }}
  previous_key_files:
    {{- range $index, $_ := .previousKeys }}
    - {{ $files }}/storage-previous-{{ $index }}.key
    {{- end }}
  {{- end }}
  require: {{ .require }}
{{- end }}
{{- end }}
{{- end }}

{{/* Derived, with `config` merged over it; integers written as such, and nothing in it that has to be a Secret. */}}
{{- define "kbs.config" -}}
{{- $derived := include "kbs.derivedConfig" . | fromYaml -}}
{{- if hasKey $derived "Error" }}{{ fail (printf "the configuration cannot be made: %s" $derived.Error) }}{{ end -}}
{{- $toml := mergeOverwrite $derived (deepCopy .Values.config) | toToml -}}
{{- $toml = regexReplaceAll "(?m)^(\\s*[A-Za-z0-9_]+ = -?[0-9]+)\\.0$" $toml "${1}" -}}
{{- if regexMatch "(?m)(^|[{,])\\s*(password|token|api_key) = " $toml -}}
{{- fail "config: a password, token or API key does not belong into a ConfigMap: put it into a Secret, name that in extraFiles, and its path in config" -}}
{{- end -}}
{{- if regexMatch "[a-z]+://[^/\"@]*:[^/\"@]*@" $toml -}}
{{- fail "an address holds a password: put it into a Secret and name that (redis.password, postgres.password)" -}}
{{- end -}}
{{- $paths := list -}}
{{- range (include "kbs.files" . | fromJson).files }}{{ $paths = append $paths .path }}{{ end -}}
{{- range regexFindAll "/run/secrets/kbs/[^\"]*" $toml -1 -}}
{{- $path := trimPrefix "/run/secrets/kbs/" . -}}
{{- if not (has $path $paths) }}{{ fail (printf "config names %s, which is not mounted: add it to extraFiles" .) }}{{ end -}}
{{- end -}}
{{- $toml | trim }}
{{- end }}
