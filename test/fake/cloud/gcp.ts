import { gcpRules } from "./gcpRules";
import { servePlugin } from "./plugin";

servePlugin(gcpRules);
