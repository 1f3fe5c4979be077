import { main } from "@pulumi/pulumi/provider";
import { abortWhenEngineIsGone } from "./engineWatch";
import { providerFor, underway } from "./server";
import { resourceTypes } from "./types";

/** The entry of the plugin process: the engine starts it, reads its port from stdout and calls it over gRPC. */
const controller = new AbortController();
abortWhenEngineIsGone(controller, underway);
main(providerFor(resourceTypes, "0.1.0", controller), process.argv.slice(2));
