{{- define "convercus-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "convercus-operator.fullname" -}}
{{- $name := include "convercus-operator.name" . }}
{{- $both := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- default $both .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "convercus-operator.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{- define "convercus-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "convercus-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "convercus-operator.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "convercus-operator.selectorLabels" . }}
{{- end }}

{{/* Labels and annotations of an object: root is the context, and labels and annotations are the object's own. */}}
{{- define "convercus-operator.labelsAndAnnotations" -}}
{{- $labels := include "convercus-operator.labels" .root | fromYaml }}
{{- $labels = mergeOverwrite (deepCopy .root.Values.commonLabels) (deepCopy (.labels | default dict)) $labels }}
labels:
  {{- toYaml $labels | nindent 2 }}
{{- with mergeOverwrite (deepCopy .root.Values.commonAnnotations) (deepCopy (.annotations | default dict)) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "convercus-operator.serviceAccountName" -}}
{{- default (include "convercus-operator.fullname" .) .Values.serviceAccount.name }}
{{- end }}

{{- define "convercus-operator.imageRegistry" -}}
{{- default .Values.image.registry (.Values.global | default dict).imageRegistry }}
{{- end }}

{{- define "convercus-operator.image" -}}
{{- with include "convercus-operator.imageRegistry" . }}
{{- trimSuffix "/" . }}/
{{- end }}
{{- with .Values.image }}
{{- if .digest }}
{{- printf "%s@%s" .repository .digest }}
{{- else }}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Those of global may be names alone, as many charts have them. */}}
{{- define "convercus-operator.imagePullSecrets" -}}
{{- $all := list }}
{{- range concat ((.Values.global | default dict).imagePullSecrets | default list) .Values.imagePullSecrets }}
{{- $all = append $all (kindIs "string" . | ternary (dict "name" .) .) }}
{{- end }}
{{- toYaml (uniq $all) }}
{{- end }}

{{- define "convercus-operator.clusterCredentialsNamespace" -}}
{{- default (include "convercus-operator.namespace" .) .Values.clusterCredentials.namespace }}
{{- end }}

{{- define "convercus-operator.config" -}}
{{- $lease := merge (dict "name" (include "convercus-operator.fullname" .)) .Values.leaderElection }}
{{- $config := pick .Values "environments" "watch" "workers" "tokenHosts" "renewal" "log" }}
{{- if not .Values.metrics.perCredential }}
{{- $_ := set $config "metrics" (dict "perCredential" false) }}
{{- end }}
{{- if .Values.clusterCredentials.enabled }}
{{- $namespace := include "convercus-operator.clusterCredentialsNamespace" . }}
{{- $_ := set $config "clusterCredentials" (dict "enabled" true "namespace" $namespace) }}
{{- end }}
{{- toYaml (merge (dict "leaderElection" $lease "operations" (dict "port" 8080 "probePort" 8081)) $config) }}
{{- end }}

{{- define "convercus-operator.subject" -}}
kind: ServiceAccount
name: {{ include "convercus-operator.serviceAccountName" . }}
namespace: {{ include "convercus-operator.namespace" . }}
{{- end }}

{{/* What the operator may do where credentials are; the same for a cluster and for a namespace. */}}
{{- define "convercus-operator.rules" -}}
- apiGroups: [convercus.io]
  resources: [convercuscredentials]
  verbs: [get, list, watch]
- apiGroups: [convercus.io]
  resources: [convercuscredentials/status]
  verbs: [update, patch]
# get: credentials Secrets, targets, sessions. list, watch: changes of them; the operator asks for metadata only, but
# the right shows the data, too. create, update, patch: targets and sessions. delete: sessions. RBAC knows no types of
# Secrets: the admission policy of the operator's account does.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}
