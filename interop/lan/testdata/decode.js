// Decodes frames with the decoders of npm echonet-lite and node-echonet-lite: one frame in hexadecimal on each line of
// standard input, one JSON object on each of standard output. The decoders know one list of properties: of a SetGet
// only the first is told, and by echonet-lite alone.
'use strict';
const EL = require('echonet-lite');
const core = require('node-echonet-lite/lib/core/core.js');

core.setLang('en');
require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const bytes = Buffer.from(line, 'hex');
  const out = {};
  const a = EL.parseBytes(bytes);
  out.a = { tid: a.TID, seoj: a.SEOJ, deoj: a.DEOJ, esv: a.ESV, opc: a.OPC, details: a.DETAILs };
  if (!['6e', '7e', '5e'].includes(a.ESV)) {
    const m = core.parse(bytes).message;
    out.b = {
      tid: m.tid, seoj: m.seoj, deoj: m.deoj, esv: m.esv,
      properties: m.prop.map((p) => ({ epc: p.epc, edt: p.buffer ? p.buffer.toString('hex') : '' })),
    };
  }
  process.stdout.write(JSON.stringify(out) + '\n');
});
