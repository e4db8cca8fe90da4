'use strict';
// What the environment says about this process; see protocol/calls.md. Read once, before the program runs.

let own = {};
let calls;

/** Takes out of the environment what no child process may take for its own. */
function take(env) {
  calls = env.BIREME_CALLS || undefined;
  try {
    own = JSON.parse(env.BIREME_SELF || '{}');
  } catch (error) {
    throw new Error(`bireme: BIREME_SELF is not JSON: ${error.message}`);
  }
  delete env.BIREME_CALLS;
  delete env.BIREME_SELF;
}

module.exports = { callsPath: () => calls, self: () => own, take };
