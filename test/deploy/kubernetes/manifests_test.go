// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

// Package kubernetes checks the manifests of deploy/kubernetes against the types of Kubernetes, as kustomize builds them. It is
// a module of its own so that nobody who builds Picket needs Kubernetes.
package kubernetes

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

const (
	root     = "../../../"
	manifest = root + "deploy/kubernetes/"
)

// configs are the copies of examples that ConfigMaps are made of.
var configs = map[string]string{
	"agent":            "agent.yaml",
	"agent-to-gateway": "agent-to-gateway.yaml",
	"gateway":          "gateway.yaml",
	"sidecar":          "sidecar.yaml",
}

// build returns the objects of a kustomization. Unknown fields, and fields of another type, are errors.
func build(t *testing.T, name string) []runtime.Object {
	t.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), manifest+name)
	require.NoError(t, err)
	text, err := resources.AsYaml()
	require.NoError(t, err)
	return decode(t, text)
}

func decode(t *testing.T, text []byte) (objects []runtime.Object) {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{appsv1.AddToScheme, autoscalingv2.AddToScheme, corev1.AddToScheme, policyv1.AddToScheme} {
		require.NoError(t, add(scheme))
	}
	yaml := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme, scheme, json.SerializerOptions{Yaml: true, Strict: true})

	for doc := range bytes.SplitSeq(text, []byte("\n---\n")) {
		object, _, err := yaml.Decode(doc, nil, nil)
		require.NoError(t, err, "%s", doc)
		objects = append(objects, object)
	}
	return objects
}

// pod returns the pod of an object, if it has one.
func pod(object runtime.Object) *corev1.PodSpec {
	switch o := object.(type) {
	case *appsv1.DaemonSet:
		return &o.Spec.Template.Spec
	case *appsv1.Deployment:
		return &o.Spec.Template.Spec
	case *corev1.Pod:
		return &o.Spec
	}
	return nil
}

// one returns the only object of a type.
func one[T runtime.Object](t *testing.T, objects []runtime.Object) (found T) {
	t.Helper()
	n := 0
	for _, o := range objects {
		if o, ok := o.(T); ok {
			found = o
			n++
		}
	}
	require.Equal(t, 1, n, "objects of type %T", found)
	return found
}

func TestConfigsAreTheExamples(t *testing.T) {
	for dir, example := range configs {
		want, err := os.ReadFile(root + "examples/" + example)
		require.NoError(t, err)
		got, err := os.ReadFile(manifest + dir + "/config.yaml")
		require.NoError(t, err)
		assert.Equal(t, string(want), string(got), "run cp examples/%s deploy/kubernetes/%s/config.yaml", example, dir)
	}
	dirs, err := filepath.Glob(manifest + "*/kustomization.yaml")
	require.NoError(t, err)
	assert.Len(t, dirs, len(configs), "kustomizations without an entry in this test")
}

// TestManifests builds every kustomization, and checks what holds for all pods.
func TestManifests(t *testing.T) {
	for name := range configs {
		t.Run(name, func(t *testing.T) {
			objects := build(t, name)
			pods := 0
			maps := map[string]*corev1.ConfigMap{}
			for _, o := range objects {
				if m, ok := o.(*corev1.ConfigMap); ok {
					maps[m.Name] = m
				}
			}
			for _, o := range objects {
				p := pod(o)
				if p == nil {
					continue
				}
				pods++
				checkPod(t, p, maps, root+"examples/"+configs[name])
			}
			assert.Equal(t, 1, pods)
		})
	}
}

func checkPod(t *testing.T, p *corev1.PodSpec, maps map[string]*corev1.ConfigMap, example string) {
	t.Helper()
	require.NotNil(t, p.AutomountServiceAccountToken)
	assert.False(t, *p.AutomountServiceAccountToken, "it asks the API for nothing")
	require.NotNil(t, p.SecurityContext)
	require.NotNil(t, p.SecurityContext.SeccompProfile)
	assert.Equal(t, corev1.SeccompProfileTypeRuntimeDefault, p.SecurityContext.SeccompProfile.Type)
	volumes := map[string]corev1.Volume{}
	for i := range p.Volumes {
		volumes[p.Volumes[i].Name] = p.Volumes[i]
	}
	var picket *corev1.Container
	for _, c := range slices.Concat(p.InitContainers, p.Containers) {
		s := c.SecurityContext
		require.NotNil(t, s, c.Name)
		assert.True(t, s.Privileged == nil || !*s.Privileged, "%s is privileged", c.Name)
		require.NotNil(t, s.AllowPrivilegeEscalation, c.Name)
		assert.False(t, *s.AllowPrivilegeEscalation, c.Name)
		assert.Equal(t, []corev1.Capability{"ALL"}, s.Capabilities.Drop, c.Name)
		if c.Name == "picket" {
			picket = &c
		}
		used := map[string]bool{}
		for _, m := range c.VolumeMounts {
			assert.Contains(t, volumes, m.Name)
			used[m.Name] = true
			if m.Name != "storage" {
				assert.True(t, m.ReadOnly, m.Name)
			}
		}
		if c.Name == "picket" {
			assert.Len(t, used, len(volumes), "volumes that nothing mounts")
		}
	}
	require.NotNil(t, picket)
	require.NotNil(t, picket.SecurityContext.ReadOnlyRootFilesystem)
	assert.True(t, *picket.SecurityContext.ReadOnlyRootFilesystem)
	assert.NotNil(t, picket.StartupProbe)
	assert.NotNil(t, picket.LivenessProbe)
	assert.False(t, picket.Resources.Requests.Cpu().IsZero())
	assert.False(t, picket.Resources.Limits.Memory().IsZero())
	assert.Less(t, picket.Resources.Requests.Memory().Cmp(*picket.Resources.Limits.Memory()), 1)

	// The config that it mounts is the generated ConfigMap, which holds the example.
	require.Contains(t, maps, volumes["config"].ConfigMap.Name)
	want, err := os.ReadFile(example)
	require.NoError(t, err)
	assert.Equal(t, string(want), maps[volumes["config"].ConfigMap.Name].Data["config.yaml"])
	// What the example takes from the environment, and what it needs there, is given.
	for _, e := range picket.Env {
		if e.Name != "K8S_NODE_NAME" && e.Name != "GOMEMLIMIT" {
			assert.Contains(t, string(want), "${env:"+e.Name, "an environment variable that %s does not read", example)
		}
	}
	if strings.Contains(string(want), "${env:DD_API_KEY}") {
		assert.True(t, slices.ContainsFunc(picket.Env, func(e corev1.EnvVar) bool { return e.Name == "DD_API_KEY" && e.ValueFrom.SecretKeyRef != nil }))
	}
}

// TestCapabilities: what the receiver's README lists, and for a gateway none.
func TestCapabilities(t *testing.T) {
	readme, err := os.ReadFile(root + "receiver/ebpfsecurityreceiver/README.md")
	require.NoError(t, err)
	for _, name := range []string{"agent", "agent-to-gateway", "sidecar"} {
		for _, o := range build(t, name) {
			p := pod(o)
			if p == nil {
				continue
			}
			assert.True(t, p.HostPID, name)
			i := slices.IndexFunc(slices.Concat(p.InitContainers, p.Containers), func(c corev1.Container) bool { return c.Name == "picket" })
			c := slices.Concat(p.InitContainers, p.Containers)[i]
			assert.Equal(t, []corev1.Capability{"BPF", "PERFMON", "SYS_PTRACE", "DAC_READ_SEARCH"}, c.SecurityContext.Capabilities.Add, name)
			for _, capability := range c.SecurityContext.Capabilities.Add {
				assert.Contains(t, string(readme), "`CAP_"+string(capability)+"`")
			}
		}
	}
	gateway := one[*appsv1.Deployment](t, build(t, "gateway")).Spec.Template.Spec
	assert.Empty(t, gateway.Containers[0].SecurityContext.Capabilities.Add)
	assert.True(t, *gateway.SecurityContext.RunAsNonRoot)
	assert.False(t, gateway.HostPID || gateway.HostNetwork || gateway.HostIPC)
	for i := range gateway.Volumes {
		assert.Nil(t, gateway.Volumes[i].HostPath, "the restricted Pod Security Standard has no host paths")
	}
}

func TestAgent(t *testing.T) {
	set := one[*appsv1.DaemonSet](t, build(t, "agent"))
	assert.Equal(t, "picket", set.Namespace)
	assert.Equal(t, set.Spec.Selector.MatchLabels, set.Spec.Template.Labels)
	assert.Equal(t, []corev1.Toleration{{Operator: corev1.TolerationOpExists}}, set.Spec.Template.Spec.Tolerations)

	// The overlay has the certificate, and nothing of Datadog.
	overlay := one[*appsv1.DaemonSet](t, build(t, "agent-to-gateway")).Spec.Template.Spec
	for _, e := range overlay.Containers[0].Env {
		assert.NotContains(t, e.Name, "DD_")
	}
	assert.True(t, slices.ContainsFunc(overlay.Volumes, func(v corev1.Volume) bool { return v.Secret != nil && v.Secret.SecretName == "picket-agent-tls" }))
}

// TestGateway: services, autoscaler and disruption budget are about the Deployment.
func TestGateway(t *testing.T) {
	objects := build(t, "gateway")
	deployment := one[*appsv1.Deployment](t, objects)
	labels := deployment.Spec.Template.Labels
	assert.Equal(t, labels, deployment.Spec.Selector.MatchLabels)
	assert.Nil(t, deployment.Spec.Replicas, "the autoscaler's")
	scaler := one[*autoscalingv2.HorizontalPodAutoscaler](t, objects)
	assert.Equal(t, autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: deployment.Name}, scaler.Spec.ScaleTargetRef)
	assert.Greater(t, scaler.Spec.MaxReplicas, *scaler.Spec.MinReplicas)
	assert.Equal(t, labels, one[*policyv1.PodDisruptionBudget](t, objects).Spec.Selector.MatchLabels)
	services := 0
	for _, o := range objects {
		service, ok := o.(*corev1.Service)
		if !ok {
			continue
		}
		services++
		assert.Equal(t, labels, service.Spec.Selector)
		for _, p := range service.Spec.Ports {
			assert.True(t, slices.ContainsFunc(deployment.Spec.Template.Spec.Containers[0].Ports, func(c corev1.ContainerPort) bool { return c.Name == p.TargetPort.StrVal }))
		}
	}
	assert.Equal(t, 2, services)

	// The name that agents connect to, and that the certificate is for.
	agent := one[*appsv1.DaemonSet](t, build(t, "agent-to-gateway"))
	assert.Contains(t, agent.Spec.Template.Spec.Containers[0].Env, corev1.EnvVar{Name: "PICKET_GATEWAY", Value: "picket-gateway." + deployment.Namespace + ".svc:4317"})
}

// TestDecodeIsStrict: this test would not be worth much if a misspelled field passed.
func TestDecodeIsStrict(t *testing.T) {
	scheme := runtime.NewScheme()
	require.NoError(t, corev1.AddToScheme(scheme))
	yaml := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme, scheme, json.SerializerOptions{Yaml: true, Strict: true})
	for _, text := range []string{
		"apiVersion: v1\nkind: Pod\nspec: {hostPid: true}\n",
		"apiVersion: v1\nkind: Pod\nspec: {hostPID: 1}\n",
		"apiVersion: v1\nkind: Pod\nspec: {}\nspec: {}\n",
	} {
		_, _, err := yaml.Decode([]byte(text), nil, nil)
		require.Error(t, err, text)
	}
}
