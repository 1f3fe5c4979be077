import { awsRules } from "./awsRules";
import { servePlugin } from "./plugin";

servePlugin(awsRules);
