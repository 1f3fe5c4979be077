import assert from "node:assert/strict";
import { lookingRights } from "../../../components/gcp/access";
import type { Placement } from "../../../components/placement";
import { placing, rollingOut, running } from "../builders";
import { doneBefore, named, resolved } from "../mockedEngine";
import { declared, first, firstDeploy, isGcp, ofType, on, v1, v2 } from "./targetForTests";

describe("the target gcp", function () {
  this.timeout(20_000);

  it("makes of a first deploy a head, templates, a backend service and the load balancer, named after the version", async () => {
    const { resources, result } = await firstDeploy();
    const counts: Record<string, number> = {};
    for (const { type } of resources.filter(isGcp)) {
      const kind = type.split(":").at(-1) ?? "";
      counts[kind] = (counts[kind] ?? 0) + 1;
    }
    assert.deepEqual(counts, {
      Network: 1,
      Subnetwork: 1,
      Router: 1,
      RouterNat: 1,
      Firewall: 3,
      Account: 2,
      IAMCustomRole: 3,
      IAMMember: 6,
      Bucket: 1,
      BucketIAMMember: 1,
      BucketObject: 1,
      GlobalAddress: 1,
      HealthCheck: 1,
      Secret: 1,
      SecretVersion: 1,
      SecretIamMember: 2,
      InstanceTemplate: 3,
      Instance: 1,
      InstanceGroup: 1,
      BackendService: 2,
      URLMap: 2,
      TargetHttpProxy: 2,
      GlobalForwardingRule: 2,
    });
    assert.match((await resolved(result.url)).value, /^http:\/\/[\d.]+$/);
    for (const { name, type } of resources) assert.doesNotMatch(`${type} ${name}`, /primary|canary/);
  });

  it("takes a network that is given and makes none", async () => {
    const network = "projects/my-project/global/networks/models";
    const subnetwork = "projects/my-project/regions/us-central1/subnetworks/models";
    const { resources } = await declared(first, { settings: { network, subnetwork } });
    for (const type of ["Network", "Subnetwork", "Router", "RouterNat"]) assert.deepEqual(ofType(resources, type), []);
    const [nic] = named(resources, "head-v1").inputs.networkInterfaces as object[];
    assert.deepEqual(nic, { network, subnetwork });
  });

  describe("its machines", () => {
    it("have no address on the internet, no project-wide keys, and an account each of heads and workers", async () => {
      const { resources } = await firstDeploy();
      const machines = [...ofType(resources, "InstanceTemplate"), ...ofType(resources, "Instance")];
      for (const { name, inputs } of machines) {
        const { networkInterfaces, metadata, serviceAccount } = inputs as {
          networkInterfaces: object[];
          metadata: Record<string, string>;
          serviceAccount: { email: string };
        };
        assert.ok(!JSON.stringify(networkInterfaces).includes("accessConfig"), name);
        assert.equal(metadata["block-project-ssh-keys"], "TRUE", name);
        const role = name === "head-v1" ? "head" : "worker";
        assert.match(serviceAccount.email, new RegExp(`^sample-service-${role}-`));
      }
    });

    it("are stopped and not moved where they have GPUs, and deleted where Google takes them away", async () => {
      const { resources } = await firstDeploy();
      const scheduling = (name: string) => named(resources, name).inputs.scheduling;
      const plain = { automaticRestart: false, preemptible: false, provisioningModel: "STANDARD" };
      assert.deepEqual(scheduling("template-v1-gpu"), { ...plain, onHostMaintenance: "TERMINATE" });
      assert.deepEqual(scheduling("template-v1-cpu"), { ...plain, onHostMaintenance: "MIGRATE" });
      assert.deepEqual(scheduling("template-v1-t4-spot"), {
        automaticRestart: false,
        onHostMaintenance: "TERMINATE",
        preemptible: true,
        provisioningModel: "SPOT",
        instanceTerminationAction: "DELETE",
      });
      assert.deepEqual(scheduling("head-v1"), { automaticRestart: true, onHostMaintenance: "MIGRATE" });
    });

    it("have the GPUs of their type, or those that are added to it, and a disk that the family knows", async () => {
      const { resources } = await firstDeploy();
      const template = (name: string) =>
        named(resources, name).inputs as { guestAccelerators?: object[]; disks: Array<Record<string, unknown>> };
      assert.equal(template("template-v1-gpu").guestAccelerators, undefined);
      const [t4] = template("template-v1-t4-spot").guestAccelerators ?? [];
      assert.deepEqual(t4, { type: "nvidia-tesla-t4", count: 2 });
      assert.deepEqual(
        ["gpu", "t4-spot", "cpu"].map((group) => {
          const [disk] = template(`template-v1-${group}`).disks;
          return [disk?.diskType, disk?.diskSizeGb, disk?.autoDelete];
        }),
        [
          ["pd-balanced", 200, true],
          ["pd-balanced", 50, true],
          ["hyperdisk-balanced", 200, true],
        ],
      );
    });

    it("are started by Ray from their group's own template, from none up, in a cluster of that name only", async () => {
      const { resources } = await firstDeploy();
      const script = String(named(resources, "head-v1").inputs.metadataStartupScript);
      const [text = ""] = /^\{\n "cluster_name"[\s\S]*?^\}$/m.exec(script) ?? [];
      const config = JSON.parse(text) as {
        cluster_name: string;
        max_workers: number;
        provider: object;
        available_node_types: Record<
          string,
          { min_workers: number; max_workers: number; resources: object; node_config: Record<string, unknown> }
        >;
      };
      const { labels } = named(resources, "head-v1").inputs as { labels: Record<string, string> };
      assert.equal(config.cluster_name, labels["ray-cluster-name"]);
      assert.ok(config.cluster_name.length <= 35);
      assert.equal(config.max_workers, 8);
      assert.equal((config.provider as { availability_zone: string }).availability_zone, "us-central1-a");
      const { head, ...workers } = config.available_node_types;
      assert.equal(head?.max_workers, 0);
      assert.deepEqual(Object.keys(workers), ["gpu", "t4-spot", "cpu"]);
      for (const [group, { min_workers, resources: has, node_config: node }] of Object.entries(workers)) {
        const { name } = named(resources, `template-v1-${group}`).inputs;
        assert.equal(min_workers, 0);
        assert.equal(node.sourceInstanceTemplate, `projects/my-project/global/instanceTemplates/${name}`);
        assert.ok("CPU" in has);
      }
      assert.equal(workers.gpu?.node_config.machineType, "g2-standard-4");
      assert.deepEqual(Object.keys(workers.gpu?.resources ?? {}).sort(), [
        "CPU",
        "GPU",
        "accelerator_type:L4",
        "memory",
      ]);
    });

    it("are named so that Ray's provider knows the head for a machine of Compute Engine", async () => {
      const { resources } = await firstDeploy();
      assert.match(String(named(resources, "head-v1").inputs.name), /-compute$/);
    });
  });

  it("lets Google's load balancers to Serve, the config's ranges to the dashboard, and nobody to another port", async () => {
    const { resources } = await firstDeploy();
    const rules = ofType(resources, "Firewall").map(({ inputs }) => inputs);
    assert.ok(!JSON.stringify(rules).includes("0.0.0.0/0"));
    const open = rules.filter(({ sourceRanges }) => sourceRanges !== undefined);
    assert.equal(open.length, 2);
    const rule = (name: string) => {
      const { sourceRanges, allows } = named(resources, `firewall-${name}`).inputs;
      return { sourceRanges, allows };
    };
    assert.deepEqual(rule("load-balancer"), {
      sourceRanges: ["130.211.0.0/22", "35.191.0.0/16"],
      allows: [{ protocol: "tcp", ports: ["8000"] }],
    });
    assert.deepEqual(rule("dashboard"), {
      sourceRanges: ["10.0.0.0/8"],
      allows: [{ protocol: "tcp", ports: ["8265"] }],
    });
    const tags = named(resources, "head-v1").inputs.tags;
    for (const { targetTags } of rules) assert.deepEqual(targetTags, tags);
  });

  it("gives a head the rights to look, and to launch and end its service's workers; a worker to end such", async () => {
    const { resources } = await firstDeploy();
    const grant = (name: string) =>
      named(resources, `${name}-grant`).inputs as { member: string; condition?: { expression: string } };
    assert.equal(grant("looking").condition, undefined);
    assert.doesNotMatch(lookingRights.join(), /create|delete|set/);
    for (const name of ["launching", "leaving"]) {
      const { condition } = grant(name);
      assert.match(condition?.expression ?? "", /instances\/ray-sample-service-/, name);
    }
    assert.match(grant("launching").member, /^serviceAccount:sample-service-head-/);
    assert.match(grant("leaving").member, /^serviceAccount:sample-service-worker-/);
    assert.deepEqual(named(resources, "leaving-role").inputs.permissions, ["compute.instances.delete"]);
    assert.doesNotMatch(
      JSON.stringify(resources.filter(isGcp).map(({ inputs }) => inputs)),
      /roles\/(owner|editor)|admin/i,
    );
  });

  it("keeps tokens secret wherever they are, and gives scripts none", async () => {
    const { resources, result } = await firstDeploy();
    const { value: query } = await resolved(result.queryAuthToken!);
    const ray = String(named(resources, "ray-token-version-v1").inputs.secretData);
    for (const { name, type, inputs, secrets } of resources) {
      const open = JSON.stringify(Object.entries(inputs).filter(([key]) => !secrets.includes(key)));
      assert.ok(!open.includes(query) && !open.includes(ray), `${type} ${name}`);
    }
    for (const name of ["head-v1", "template-v1-gpu"]) {
      const script = String(named(resources, name).inputs.metadataStartupScript);
      assert.ok(!script.includes(query) && !script.includes(ray), name);
    }
    const { value, secret } = await resolved(result.addresses);
    assert.ok(secret);
    assert.equal((value.clusters.v1 as { dashboardToken: string }).dashboardToken, ray);
  });

  it("keeps a secret spec secret in the bucket as well", async () => {
    const { resources } = await declared(first, { times: { secret: true } });
    assert.deepEqual(named(resources, "serve-config-v1").secrets, ["content"]);
    assert.ok(named(resources, "applications-v1").secrets.includes("config"));
  });

  it("keeps for a head that starts anew what the cluster runs: the config at its capacity, after it is so", async () => {
    const { resources } = await declared(placing({ canaryPercent: 25, maxSurgePercent: 25 }, v2, on(running)));
    const { inputs, dependencies } = named(resources, "serve-config-v2");
    const content = JSON.parse(String(inputs.content));
    assert.equal(content.target_capacity, 25);
    assert.equal(content.applications[0].import_path, "app:app");
    assert.ok(dependencies.includes("applications-v2"));
    const script = String(named(resources, "head-v2").inputs.metadataStartupScript);
    assert.ok(script.includes(encodeURIComponent(String(inputs.name))));
    const alone = await firstDeploy();
    const { target_capacity } = JSON.parse(String(named(alone.resources, "serve-config-v1").inputs.content));
    assert.equal(target_capacity, null);
  });

  it("ends the head before the reaper, the workers before their templates, network and rights", async () => {
    const { resources } = await firstDeploy();
    assert.ok(named(resources, "head-v1").dependencies.includes("reaper-v1"));
    const kept = doneBefore(resources, "reaper-v1");
    for (const name of ["template-v1-gpu", "firewall-inside", "nat", "leaving-grant", "launching-grant"]) {
      assert.ok(kept.has(name), name);
    }
    const { clusterName } = named(resources, "reaper-v1").inputs;
    assert.equal(
      clusterName,
      (named(resources, "head-v1").inputs.labels as Record<string, string>)["ray-cluster-name"],
    );
  });

  describe("order inside an update", () => {
    it("forward: the canary's applications and its place among the versions, their proof, the weights, theirs, the primary's applications", async () => {
      const { resources } = await declared(placing({ canaryPercent: 50 }, v2, on(rollingOut([100, 100, 10]))));
      const proven = doneBefore(resources, "readiness");
      for (const name of ["applications-v2", "versions-map", "backend-v2"]) assert.ok(proven.has(name), name);
      assert.ok(!proven.has("service-map") && !proven.has("applications-v1"));
      assert.ok(named(resources, "service-map").dependencies.includes("readiness"));
      assert.ok(doneBefore(resources, "load-balancer").has("service-map"));
      assert.ok(doneBefore(resources, "applications-v1").has("load-balancer"));
    });

    it("back: the primary's applications first, the canary's last", async () => {
      const { resources } = await declared(placing({ canaryPercent: 10 }, v2, on(rollingOut([50, 50, 50], 50))));
      assert.ok(doneBefore(resources, "readiness").has("applications-v1"));
      assert.ok(doneBefore(resources, "applications-v2").has("load-balancer"));
      assert.ok(!doneBefore(resources, "applications-v1").has("service-map"));
    });

    it("at once: the weights wait for no applications, and their proof is told so", async () => {
      const placement: Placement = { ...placing({}, v1, on(rollingOut([25, 75, 75]))), order: "concurrent" };
      const { resources } = await declared(placement);
      assert.equal(named(resources, "readiness").inputs.immediate, true);
      assert.ok(![...doneBefore(resources, "readiness")].some((name) => name.startsWith("applications")));
    });
  });

  it("guards growth by the other cluster, and shrinking by the weights at the data plane", async () => {
    const { resources } = await declared(placing({ canaryPercent: 25, maxSurgePercent: 25 }, v2, on(running)));
    const { surge } = named(resources, "applications-v2").inputs as {
      surge: { peer: object; maxTotalCapacity: number };
    };
    assert.equal(surge.maxTotalCapacity, 125);
    assert.ok(named(resources, "applications-v2").secrets.includes("surge"));
    const { traffic } = named(resources, "applications-v1").inputs as {
      traffic: { marker: { url: string }; version: string };
    };
    assert.match(traffic.marker.url, /^http:\/\/[\d.]+:80$/);
    assert.equal(traffic.version, "v1");
  });

  it("serves by HTTPS where certificates are given, at their host name", async () => {
    const certificates = ["projects/my-project/global/sslCertificates/models"];
    const loadBalancer = { certificates, hostname: "models.example.com" };
    const { resources, result } = await declared(first, { settings: { loadBalancer } });
    assert.equal((await resolved(result.url)).value, "https://models.example.com");
    assert.equal(ofType(resources, "TargetHttpProxy").length, 0);
    for (const proxy of ofType(resources, "TargetHttpsProxy"))
      assert.deepEqual(proxy.inputs.sslCertificates, certificates);
    assert.deepEqual(
      ofType(resources, "GlobalForwardingRule")
        .map(({ inputs }) => inputs.portRange)
        .sort(),
      ["443", "8443"],
    );
  });
});
