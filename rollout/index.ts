/** What scripts use: the commands of the driver as functions, and the service as a component for programs of their own. */

export { type Placement, place, Refusal } from "../components/placement";
export { InvalidInput, type Problem } from "../components/problems";
export { serviceFromStackConfig } from "../components/program";
export type { Phase, PlacedVersion, RolloutRecord, Version } from "../components/record";
export { Service, type ServiceArgs } from "../components/service";
export type { Target, TargetSettings } from "../components/target";
export type { Change } from "../provider/serve/changes";
export { type CommandResult, type DeployOptions, deploy } from "./deploy";
export {
  DeadlinePassed,
  exitCodeOf,
  RayshiftError,
  Refused,
  RolledBack,
  StackLocked,
  UpdateFailed,
} from "./errors";
export type { ClusterStatus, OnEvent, Outcome, RolloutEvent } from "./events";
export { type HistoryOptions, history } from "./history";
export type { PastRollout } from "./pastRollouts";
export type { Range } from "./peaks";
export type { Waypoint } from "./plan";
export { type PlannedWaypoint, type PlanOptions, plan, type RolloutPlan } from "./planCommand";
export { type RollbackOptions, rollback } from "./rollback";
export type { SessionOptions } from "./session";
export { type ServiceStatus, type State, status, type WaitOptions, wait } from "./status";
export { type SuperviseOptions, type Supervision, supervise } from "./supervise";
export { terminate } from "./terminate";
export { type VerifiedStep, type VerifyOptions, verify } from "./verify";
