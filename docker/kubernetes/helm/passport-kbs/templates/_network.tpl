{{/* Whom the program may reach: name resolution, the store, what else the values ask for. */}}
{{- define "kbs.egress" -}}
{{- $policy := .Values.networkPolicy -}}
- to:
    {{- toYaml $policy.dns | nindent 4 }}
  ports:
    - { protocol: UDP, port: 53 }
    - { protocol: TCP, port: 53 }
- to:
    {{- if .Values.redis.trial.enabled }}
    - podSelector:
        matchLabels:
          {{- include "kbs.redisSelectorLabels" . | nindent 10 }}
    {{- else }}
    {{- toYaml $policy.storage | nindent 4 }}
    {{- end }}
  ports:
    {{- range include "kbs.storagePorts" . | fromJsonArray }}
    - { protocol: TCP, port: {{ int . }} }
    {{- end }}
{{- if include "kbs.publicHttps" . }}
# no private network, no metadata service
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except: [10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16]
    - ipBlock:
        cidr: "::/0"
        except: ["::1/128", "fc00::/7", "fe80::/10"]
  ports:
    - { protocol: TCP, port: 443 }
{{- end }}
{{- range $policy.extraEgress }}
- to:
    {{- toYaml .to | nindent 4 }}
  ports:
    {{- range .ports }}
    - { protocol: TCP, port: {{ int . }} }
    {{- end }}
{{- end }}
{{- end }}
