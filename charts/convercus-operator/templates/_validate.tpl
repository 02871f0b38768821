{{/*
What values.schema.json can't say, or not in words that help. All problems are told at once, before anything is installed.
*/}}
{{- define "convercus-operator.validate" -}}
{{- $problems := concat
  (include "convercus-operator.environmentProblems" . | fromYamlArray)
  (include "convercus-operator.configProblems" . | fromYamlArray)
  (include "convercus-operator.imageProblems" . | fromYamlArray)
  (include "convercus-operator.podProblems" . | fromYamlArray)
  (include "convercus-operator.containerProblems" . | fromYamlArray)
  (include "convercus-operator.objectProblems" . | fromYamlArray)
  (include "convercus-operator.monitorProblems" . | fromYamlArray)
  (include "convercus-operator.alertProblems" . | fromYamlArray) }}
{{- if $problems }}
{{- printf "\nThe values can't be used:\n  - %s" (join "\n  - " $problems) | fail }}
{{- end }}
{{- end }}

{{- define "convercus-operator.environmentProblems" -}}
{{- range $name, $environment := .Values.environments }}
{{- $at := printf "environments.%s" $name }}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" $name) }}
- "{{ $at }}: write a name of lower-case letters, digits and '-'"
{{- end }}
{{- if not (has $name (list "staging" "production")) }}
{{- range $key := list "realm" "tokenUrl" "apiUrl" }}
{{- if not (get $environment $key) }}
- "{{ $at }}.{{ $key }}: write it; only staging and production have one built in"
{{- end }}
{{- end }}
{{- end }}
{{- with $environment.realm }}
{{- if not (contains "{program}" .) }}
- "{{ $at }}.realm: write a name with {program} in it, such as {program}-staging"
{{- end }}
{{- end }}
{{- with $environment.tokenUrl }}
{{- if not (contains "{realm}" .) }}
- "{{ $at }}.tokenUrl: write an absolute URL with {realm} in its path"
{{- end }}
{{- end }}
{{- range $key := list "tokenUrl" "loginUrl" "apiUrl" }}
{{- with get $environment $key }}
{{- if not (regexMatch "^https?://[^/?#@\\s]+(/[^?#\\s]*)?$" .) }}
- "{{ $at }}.{{ $key }}: write an absolute URL without credentials, query or fragment"
{{- else if and (hasPrefix "http:" .) (not $environment.insecureHttp) }}
- "{{ $at }}.{{ $key }}: make it https://, or write insecureHttp: true beside it"
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "convercus-operator.configProblems" -}}
{{- range .Values.watch.namespaces }}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" .) }}
- "watch.namespaces: {{ . }} is not the name of a namespace"
{{- end }}
{{- end }}
{{- if and .Values.clusterCredentials.enabled .Values.watch.namespaces }}
- "clusterCredentials.enabled: write false, or leave watch.namespaces empty: a cluster credential is served in all namespaces that it selects"
{{- end }}
{{- with .Values.leaderElection }}
{{- if ge (float64 .renewSeconds) (float64 .leaseSeconds) }}
- "leaderElection.renewSeconds: write less than leaseSeconds"
{{- end }}
{{- if ge (mulf .retrySeconds 1.2) (float64 .renewSeconds) }}
- "leaderElection.retrySeconds: write less than renewSeconds / 1.2"
{{- end }}
{{- end }}
{{- with .Values.renewal }}
{{- if gt (addf .percent .jitterPercent) 99.0 }}
- "renewal.jitterPercent: write at most 99 - percent"
{{- end }}
{{- end }}
{{- end }}

{{- define "convercus-operator.imageProblems" -}}
{{- if not .Values.image.repository }}
- "image.repository: write where you have pushed the image, such as registry.example.com/convercus-operator; none is published yet"
{{- end }}
{{- with include "convercus-operator.imageRegistry" . }}
{{- if not (regexMatch "^[a-zA-Z0-9][-a-zA-Z0-9.]*(:[0-9]+)?(/[-a-zA-Z0-9._]+)*/?$" .) }}
- "image.registry or global.imageRegistry: write a host, such as registry.example.com, without https://"
{{- end }}
{{- if regexMatch "^([^/]*[.:][^/]*|localhost)/" $.Values.image.repository }}
- "image.repository: write it without a host, such as platform/convercus-operator, since image.registry or global.imageRegistry names one"
{{- end }}
{{- end }}
{{- with .Values.image.digest }}
{{- if not (regexMatch "^sha256:[0-9a-f]{64}$" .) }}
- "image.digest: write sha256: and 64 hexadecimal digits"
{{- end }}
{{- end }}
{{- end }}

{{- define "convercus-operator.podProblems" -}}
{{- if not (or .Values.serviceAccount.create .Values.serviceAccount.name) }}
- "serviceAccount.name: write the name of the account that you have made, since serviceAccount.create is false; the account default is that of every other pod of the namespace"
{{- end }}
{{- if and .Values.hostNetwork (eq (toString .Values.hostUsers) "false") }}
- "hostNetwork: write false, or leave hostUsers at null: a pod with user namespaces of its own can't use the node's network"
{{- end }}
{{- if and (eq .Values.dnsPolicy "None") (not .Values.dnsConfig.nameservers) }}
- "dnsConfig.nameservers: write at least one, since dnsPolicy is None"
{{- end }}
{{- with .Values.podDisruptionBudget }}
{{- if and (eq (toString .enabled) "true") (lt (int $.Values.replicaCount) 2) }}
- "podDisruptionBudget.enabled: write auto, or replicaCount 2 or more, or no node could be drained"
{{- end }}
{{- if and (ne (toString .enabled) "false") (ge (int $.Values.replicaCount) 2) (regexMatch "^[0-9]+$" (toString .minAvailable)) (ge (int .minAvailable) (int $.Values.replicaCount)) }}
- "podDisruptionBudget.minAvailable: write less than replicaCount, or no node could be drained"
{{- end }}
{{- if and (ne (toString .minAvailable) "") (ne (toString .maxUnavailable) "") }}
- "podDisruptionBudget: write minAvailable or maxUnavailable, not both"
{{- end }}
{{- end }}
{{- range $key := list "minAvailable" "maxUnavailable" }}
{{- if not (regexMatch "^([0-9]+%?)?$" (get $.Values.podDisruptionBudget $key | toString)) }}
- "podDisruptionBudget.{{ $key }}: write a number or a percentage, such as 1 or 50%"
{{- end }}
{{- end }}
{{- end }}

{{- define "convercus-operator.containerProblems" -}}
{{- $used := list "operator" }}
{{- range concat .Values.initContainers .Values.extraContainers }}
{{- if has .name $used }}
- "initContainers, extraContainers: there are two containers {{ .name }}; write another name"
{{- end }}
{{- $used = append $used .name }}
{{- end }}
{{- $used = list "config" "service-account" }}
{{- if .Values.caBundle.configMapName }}
{{- $used = append $used "ca-bundle" }}
{{- end }}
{{- range .Values.volumes }}
{{- if has .name $used }}
- "volumes: there are two volumes {{ .name }}; write another name"
{{- end }}
{{- $used = append $used .name }}
{{- end }}
{{- range .Values.extraEnv }}
{{- if has .name (list "POD_NAME" "POD_NAMESPACE") }}
- "extraEnv: leave {{ .name }} out; the chart sets it"
{{- end }}
{{- if and (eq (toString .name) "NODE_EXTRA_CA_CERTS") $.Values.caBundle.configMapName }}
- "caBundle.configMapName: write it, or NODE_EXTRA_CA_CERTS in extraEnv, not both"
{{- end }}
{{- end }}
{{- if not (regexMatch "^[-._a-zA-Z0-9]+$" .Values.caBundle.key) }}
- "caBundle.key: write the key of the ConfigMap, such as ca.crt"
{{- end }}
{{- end }}

{{- define "convercus-operator.objectProblems" -}}
{{- range $at, $object := .Values.extraObjects }}
{{- if kindIs "map" $object }}
{{- if not (and $object.apiVersion $object.kind ($object.metadata | default dict).name) }}
- "extraObjects: number {{ $at }} (from 0) has no apiVersion, kind or metadata.name; write them"
{{- end }}
{{- end }}
{{- end }}
{{- range $key, $name := dict "namespaceOverride" .Values.namespaceOverride "clusterCredentials.namespace" .Values.clusterCredentials.namespace "serviceMonitor.namespace" .Values.serviceMonitor.namespace "podMonitor.namespace" .Values.podMonitor.namespace "prometheusRule.namespace" .Values.prometheusRule.namespace "grafanaDashboard.namespace" .Values.grafanaDashboard.namespace }}
{{- if not (regexMatch "^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$" $name) }}
- "{{ $key }}: {{ $name }} is not the name of a namespace"
{{- end }}
{{- end }}
{{- if and .Values.networkPolicy.egress.enabled (not .Values.networkPolicy.enabled) }}
- "networkPolicy.enabled: write true, since networkPolicy.egress.enabled is: without the policy nothing is limited"
{{- end }}
{{- with .Values.admissionPolicies.authors.validationActions }}
{{- if and (has "Deny" .) (has "Warn" .) }}
- "admissionPolicies.authors.validationActions: write Deny or Warn, not both: the API server refuses the pair"
{{- end }}
{{- end }}
{{- with .Values.metrics.service }}
{{- if and (eq .ipFamilyPolicy "SingleStack") (gt (len .ipFamilies) 1) }}
- "metrics.service.ipFamilies: write one, or ipFamilyPolicy PreferDualStack or RequireDualStack"
{{- end }}
{{- end }}
{{- end }}

{{- define "convercus-operator.monitorProblems" -}}
{{- range $monitor := list "serviceMonitor" "podMonitor" }}
{{- range $key := list "interval" "scrapeTimeout" }}
{{- if not (regexMatch "^([0-9]+(ms|s|m|h))+$" (get (get $.Values $monitor) $key)) }}
- "{{ $monitor }}.{{ $key }}: write a duration such as 30s"
{{- end }}
{{- end }}
{{- end }}
{{- range $monitor := list "serviceMonitor" "podMonitor" }}
{{- with get $.Values $monitor }}
{{- if and .enabled (regexMatch "^[0-9]+s$" .interval) (regexMatch "^[0-9]+s$" .scrapeTimeout) (gt (int (trimSuffix "s" .scrapeTimeout)) (int (trimSuffix "s" .interval))) }}
- "{{ $monitor }}.scrapeTimeout: write at most {{ .interval }}, the interval: the Prometheus operator leaves out a monitor whose timeout is longer"
{{- end }}
{{- end }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled }}
- "podMonitor.enabled: write true for serviceMonitor or for podMonitor, not both, or all is counted twice"
{{- end }}
{{- /* Only a cluster names kinds here; without one, as in helm template, it is not known which CRDs there are. */}}
{{- if .Capabilities.APIVersions.Has "apps/v1/Deployment" }}
{{- range $key, $kind := dict "serviceMonitor" "ServiceMonitor" "podMonitor" "PodMonitor" "prometheusRule" "PrometheusRule" }}
{{- if and (get $.Values $key).enabled (not ($.Capabilities.APIVersions.Has (printf "monitoring.coreos.com/v1/%s" $kind))) }}
- "{{ $key }}.enabled: this cluster does not know the kind {{ $kind }} (monitoring.coreos.com/v1); install the Prometheus operator with its CRDs first, or write false"
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "convercus-operator.alertProblems" -}}
{{- $known := list }}
{{- range (.Files.Get "files/alerts.yaml" | fromYaml).groups }}
{{- range .rules }}
{{- $known = append $known .alert }}
{{- end }}
{{- end }}
{{- with .Values.prometheusRule }}
{{- range $key := list "runbookBaseUrl" "dashboardUrl" }}
{{- if not (regexMatch "^(https?://[^\\s]+)?$" (get $.Values.prometheusRule $key)) }}
- "prometheusRule.{{ $key }}: write an absolute URL, such as https://git.example.com/convercus-operator, or nothing"
{{- end }}
{{- end }}
{{- if not (regexMatch "^([0-9]+(ms|s|m|h|d|w))+$" .operatorDownWindow) }}
- "prometheusRule.operatorDownWindow: write a duration such as 3d"
{{- end }}
{{- range .disabled }}
{{- if not (has . $known) }}
- "prometheusRule.disabled: there is no alert {{ . }}; there are {{ join ", " $known }}"
{{- end }}
{{- end }}
{{- range $alert, $changes := .rules }}
{{- if not (has $alert $known) }}
- "prometheusRule.rules: there is no alert {{ $alert }}; there are {{ join ", " $known }}"
{{- end }}
{{- if not (regexMatch "^([0-9]+(ms|s|m|h|d|w))*$" (default "" $changes.for)) }}
- "prometheusRule.rules.{{ $alert }}.for: write a duration such as 5m"
{{- end }}
{{- end }}
{{- end }}
{{- end }}
