import { loadSeldomUsedLater } from "./components/lazyModules";

loadSeldomUsedLater();

import { serviceFromStackConfig } from "./components/program";

/** The program: a function of the stack's config and of the rollout recorded in the stack's own last outputs. */
export = serviceFromStackConfig;
