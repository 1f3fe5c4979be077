import assert from "node:assert/strict";
import { place, Refusal, recordOf } from "../../components/placement";
import { parseRecord, type RejectedVersion, type RolloutRecord } from "../../components/record";
import { parseStackConfig } from "../../components/stackConfig";
import { config, rollingOut, running, startedAt, v1, v2, v3, version } from "./builders";

const now = new Date(startedAt);
const rejection = (of = v2): RejectedVersion => ({
  version: of.name,
  digest: of.digest,
  reason: "RuntimeError: no weights",
  at: startedAt,
});
const remembering: RolloutRecord = { ...running, rejected: [rejection()] };
const back = { primary: "v1", canary: "v2", primaryCapacity: 100, canaryCapacity: 50, canaryTraffic: 0 };

describe("A rejected version", () => {
  it("is recorded by the update that takes it back, and stays recorded after it", () => {
    const placement = place(config({ rejected: rejection() }), v1, rollingOut([100, 50, 0], 50), now);
    const record = parseRecord(JSON.parse(JSON.stringify(recordOf(placement))))!;
    assert.deepEqual(record.rejected, [rejection()]);
    assert.deepEqual(recordOf(place(config(), v1, record, now)).rejected, [rejection()]);
  });

  it("is recorded while the way back is under way as well", () => {
    const waypoint = { ...back, direction: "back" as const, startedAt };
    const placement = place(config({ waypoint, rejected: rejection() }), v1, rollingOut([50, 50, 50], 50), now);
    assert.deepEqual(recordOf(placement).rejected, [rejection()]);
  });

  it("is not rolled out again by a plain update, which says why and what to do", () => {
    assert.throws(
      () => place(config(), v2, remembering, now),
      (error: Error) => {
        assert.ok(Refusal.isInstance(error));
        assert.match(error.message, /v2 was rolled back at 2026-01-31T12:00:00\.000Z: RuntimeError: no weights/);
        assert.match(error.message, /`rayshift deploy --retry`.*Nothing was changed\.$/);
        return true;
      },
    );
  });

  it("is tried again once its spec has changed, whatever its name", () => {
    const changed = version("v2", { query_auth_token_enabled: false });
    assert.equal(place(config(), changed, remembering, now).primary.name, "v2");
    assert.equal(place(config(), v3, remembering, now).primary.name, "v3");
  });

  it("is tried again by the waypoints of a driver that was told to, and forgotten once it is in charge", () => {
    const waypoint = { ...back, primaryCapacity: 100, canaryCapacity: 100, direction: "forward" as const, startedAt };
    const tried = recordOf(place(config({ waypoint }), v2, remembering, now));
    assert.equal(tried.canary?.name, "v2");
    assert.deepEqual(tried.rejected, [rejection()]);
    const complete = { ...tried, canary: { ...tried.canary!, traffic: 100 } };
    assert.equal(recordOf(place(config(), v2, complete, now)).rejected, undefined);
  });

  it("is remembered once with its last reason, among the last ten", () => {
    const again = { ...rejection(), reason: "ImportError: no module" };
    const record = recordOf(place(config({ rejected: again }), v1, remembering, now));
    assert.deepEqual(record.rejected, [again]);
    const many = Array.from({ length: 10 }, (_, index) => rejection(version(`old${index}`)));
    const full = recordOf(place(config({ rejected: rejection() }), v1, { ...running, rejected: many }, now));
    assert.deepEqual(full.rejected, [...many.slice(1), rejection()]);
  });

  it("leaves a record without one as it was", () => {
    assert.equal("rejected" in place(config(), v1, running, now), false);
  });

  it("is read from the config as the driver writes it, and refused in any other shape", () => {
    const service = JSON.stringify({ name: "s", applications: [{ import_path: "a:b" }] });
    assert.deepEqual(parseStackConfig({ service, rejected: JSON.stringify(rejection()) }).rejected, rejection());
    assert.throws(
      () => parseStackConfig({ service, rejected: "v2" }),
      /rayshift:rejected.*pulumi config rm rayshift:rejected/s,
    );
  });
});
