// A start that imports the module and does a first operation.

import { Semaphore } from "../../mod.ts";

using semaphore = Semaphore.create();
semaphore.increment();
