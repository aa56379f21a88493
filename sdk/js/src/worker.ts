// The worker's entry, for Web Workers and for Node's; without workers a Lane imports its Thread.

import { serve } from "./serve.js";

export { Thread } from "./thread.js";

await serve();
