// A low-voltage smart electric energy meter made of npm echonet-lite, as the library makes it: it answers from port
// 23610, takes whatever is written to a property that it has, whether the Set map names it or not, and ignores SetGet.
// It prints one JSON object a line: "ready" when it hears, then every request that it got.
//
// Arguments: own address, and the properties of 028801 as a JSON object of hexadecimal strings.
'use strict';
const EL = require('echonet-lite');
const [local, properties] = process.argv.slice(2);
const print = (o) => process.stdout.write(JSON.stringify(o) + '\n');
const device = { '028801': {} };
for (const [epc, edt] of Object.entries(JSON.parse(properties))) device['028801'][epc] = [...Buffer.from(edt, 'hex')];

function heard(rinfo, els, err) {
  if (err) return print({ error: String(err) });
  if (els.ESV[0] === '6') print({ from: rinfo.address, deoj: els.DEOJ, esv: els.ESV, details: els.DETAILs });
  if (els.DEOJ !== '028801') return;
  if (els.ESV === EL.GET) EL.replyGetDetail(rinfo, els, device);
  if (els.ESV === EL.SETI || els.ESV === EL.SETC) EL.replySetDetail(rinfo, els, device);
}

(async () => {
  const socket = await EL.initialize(['028801'], heard, 4, { v4: local, ignoreMe: true, autoGetProperties: false });
  const up = () => print({ ready: true });
  try {
    socket.address();
    up();
  } catch {
    socket.once('listening', up);
  }
})();
