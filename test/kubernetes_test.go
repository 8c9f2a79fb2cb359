package test

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// job is the manifest of the documentation, held to the types that Kubernetes
// publishes: a field that is not theirs, or is there twice, is an error.
func job(t *testing.T) *batchv1.Job {
	t.Helper()
	text, err := os.ReadFile("../docs/kubernetes-job.yaml")
	if err != nil {
		t.Fatal(err)
	}
	j, err := decodeJob(text)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// decodeJob is as strict as the server of the API, letters' case included.
func decodeJob(text []byte) (*batchv1.Job, error) {
	asJSON, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, err
	}
	j := new(batchv1.Job)
	strict, err := kjson.UnmarshalStrict(asJSON, j)
	return j, errors.Join(append(strict, err)...)
}

func TestKubernetesJob(t *testing.T) {
	t.Parallel()
	j := job(t)
	if j.APIVersion != batchv1.SchemeGroupVersion.String() || j.Kind != "Job" {
		t.Errorf("it is a %s of %s", j.Kind, j.APIVersion)
	}
	s := j.Spec
	if s.CompletionMode == nil || *s.CompletionMode != batchv1.IndexedCompletion || s.Completions == nil || s.Parallelism == nil || *s.Completions != *s.Parallelism {
		t.Errorf("not an Indexed Job whose pods run at once: %+v", s)
	}
	if s.BackoffLimit == nil || *s.BackoffLimit != 0 || s.Template.Spec.RestartPolicy != corev1.RestartPolicyNever {
		t.Error("a pod would be started again, too late for its share")
	}
	c := s.Template.Spec.Containers[0]
	env := map[string]string{}
	for _, e := range c.Env {
		env[e.Name] = e.Value
	}
	if env["JOB_COMPLETIONS"] != strconv.Itoa(int(*s.Completions)) || env["RMQBENCH_START"] != "$START" {
		t.Errorf("environment %v for %d pods", env, *s.Completions)
	}
	for _, m := range c.VolumeMounts {
		if !slices.ContainsFunc(s.Template.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name }) {
			t.Errorf("no volume %s", m.Name)
		}
	}
}

// TestKubernetesStrictness holds the check above to it that it finds mistakes.
func TestKubernetesStrictness(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/kubernetes-job.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new string }{
		{"completionMode: Indexed", "completionsMode: Indexed"},
		{"  parallelism: 4", "  parallelism: many"},
		{"restartPolicy: Never", "restartPolicy: Never\n      restartPolicy: Always"},
		{"containerPort: 9464", "containerPort: 9464\n              hostport: 1"},
	} {
		bad := strings.Replace(string(text), c.old, c.new, 1)
		if bad == string(text) {
			t.Errorf("the manifest has no %q", c.old)
		}
		if _, err := decodeJob([]byte(bad)); err == nil {
			t.Errorf("%q is taken", c.new)
		}
	}
}

// TestKubernetesCommand gives the command of the manifest to the program, as a
// pod of the job would, without starting anything.
func TestKubernetesCommand(t *testing.T) {
	t.Parallel()
	script := strings.Join(job(t).Spec.Template.Spec.Containers[0].Args, " ")
	values := map[string]string{"RMQBENCH_START": time.Now().Add(2 * time.Minute).UTC().Format(time.RFC3339), "JOB_COMPLETION_INDEX": "3"}
	args := strings.Fields(regexp.MustCompile(`\$\{(\w+)\}`).ReplaceAllStringFunc(strings.ReplaceAll(script, `"`, ""), func(v string) string {
		return values[v[2:len(v)-1]]
	}))
	if len(args) < 4 || args[0] != "exec" || args[1] != "rmqbench" || args[3] != "/workload/load.yaml" {
		t.Fatalf("%q", args)
	}
	args[3] = "smoke.yaml"
	c := rmqbench(t, append(args[2:], "--dry-run")...)
	c.Env = append(c.Env, "JOB_COMPLETIONS=4", "JOB_COMPLETION_INDEX=3", "RMQBENCH_START="+values["RMQBENCH_START"])
	c.run(t, 0)
	for _, want := range []string{"Shard: 3 of 4", "the cluster of rocketmq-namesrv.rocketmq.svc:9876, by wire", "/shard-3\n", "Start: " + values["RMQBENCH_START"]} {
		if !strings.Contains(c.stdout.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, c.stdout)
		}
	}
}
