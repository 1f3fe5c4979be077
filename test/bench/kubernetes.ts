import { deploy, type RolloutEvent, rollback, terminate } from "../../rollout/index";
import { addOperatorArgument } from "../kubernetes/bed/full/systemPods";
import { INCREMENTAL_UPGRADE } from "../kubernetes/bed/workloads";
import { FullService, surge } from "../kubernetes/full/service";
import { reachedIn } from "../waypoints";
import { Incremental } from "./incremental";
import { describe, measured, type Note } from "./measured";

/**
 * A rollout, and a way back from half of the traffic, by rayshift and by KubeRay's own incremental upgrade: the same pods
 * on the same node under the same surge and load, one after the other, and KubeRay's rollout once more in a quota of pods
 * and GPUs that just fits the surge. Takes a host for itself, as root.
 *
 * @param report is given each line as soon as it is known
 */
export async function measureKubernetes(report: (line: string) => void): Promise<void> {
  const service = await FullService.start(["v1", "v2", "v3"]);
  const { folder } = service;
  const listen = (note: Note) => (event: RolloutEvent) => reachedIn([event]).forEach(note);
  try {
    await addOperatorArgument(service.bed.api, INCREMENTAL_UPGRADE);
    await deploy({ folder, file: service.file("v1") });
    const endpoint = await service.reach();
    const rollout = await measured(service, endpoint, (note) =>
      deploy({ folder, file: service.file("v2"), maxSurgePercent: surge, onEvent: listen(note) }),
    );
    report(describe(`rayshift under a surge of ${surge}%`, rollout));
    const path = `/apis/ray.io/v1/namespaces/${service.namespace}/rayservices/versions-v2`;
    const made = await service.bed.api.get(path);
    await deploy({ folder, file: service.file("v3"), maxSurgePercent: surge, canaryPercent: 50 });
    const back = await measured(service, endpoint, (note) => rollback({ folder, onEvent: listen(note) }));
    report(describe("its way back from half of the traffic", back));
    await terminate({ folder });

    const { upgrade, endpoint: theirs } = await Incremental.start(service, made);
    const incremental = await measured(service, theirs, (note) => upgrade.to("v2", note));
    report(describe(`KubeRay's incremental upgrade under a surge of ${surge}%`, incremental));
    await service.limit();
    const limited = await measured(service, theirs, (note) => upgrade.to("v3", note));
    report(describe("the same in a quota that just fits the surge", limited));
    await upgrade.toTraffic("v4", 50);
    const again = await measured(service, theirs, (note) => upgrade.to("v3", note));
    report(describe("its way back from half of the traffic, by the old spec", again));
    await upgrade.end();
  } finally {
    await service.stop();
  }
}
