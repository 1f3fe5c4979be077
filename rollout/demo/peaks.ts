/** One cluster at one instant. */
export interface ClusterSample {
  version: string;
  /** Percent. */
  capacity: number;
  /** Replicas that run. */
  replicas: number;
  /** Worker nodes that live. */
  workers: number;
}

/** The most of both clusters together at any instant that was looked at. */
export interface Peaks {
  capacity: number;
  replicas: number;
  workers: number;
  /** How often it was looked. */
  samples: number;
}

export const noPeaks: Peaks = { capacity: 0, replicas: 0, workers: 0, samples: 0 };

export function withSample(peaks: Peaks, clusters: readonly ClusterSample[]): Peaks {
  const total = (value: (cluster: ClusterSample) => number) => clusters.reduce((sum, each) => sum + value(each), 0);
  return {
    capacity: Math.max(
      peaks.capacity,
      total((each) => each.capacity),
    ),
    replicas: Math.max(
      peaks.replicas,
      total((each) => each.replicas),
    ),
    workers: Math.max(
      peaks.workers,
      total((each) => each.workers),
    ),
    samples: peaks.samples + 1,
  };
}

/** What a surge, in percent, allows to a service of so many replicas with a worker each. */
export function limitsUnder(surge: number, replicas: number): { capacity: number; workers: number } {
  return { capacity: 100 + surge, workers: replicas + Math.ceil((replicas * surge) / 100) };
}
