import type { ResourceTypes } from "./server";

/** Every resource type that the provider offers, by its token. */
export const resourceTypes: ResourceTypes = {};
