'use strict';
// Bits and numbers of call frames; see "Call links" in protocol/calls.md.

/** On CALL, RESULT, ERROR and DATA. */
const FLAG = Object.freeze({ END: 0x01, STREAM: 0x02, KWARGS: 0x02, HANDLE: 0x04, GET: 0x08, IDEMPOTENT: 0x10, NEW: 0x20 });
const ITEM_FLAG = Object.freeze({ END: 0x01, PART: 0x02 });
/** Bits of MARK. */
const MARK = Object.freeze({ IDEMPOTENT: 1 });
/** `aux` of CANCEL. */
const CANCEL = Object.freeze({ UNWANTED: 1, DEADLINE: 3 });

module.exports = { CANCEL, FLAG, ITEM_FLAG, MARK };
