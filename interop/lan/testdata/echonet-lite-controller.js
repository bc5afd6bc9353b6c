// A controller made of npm echonet-lite. It prints one JSON object a line: "ready" when it hears, then every frame that
// came, as the library decoded it. Lines on its standard input are orders:
//
//	search                        multicast discovery, after which the library reads everything by itself
//	send EOJ ESV EPC[=HEX]...     one request to the meter
//
// Arguments: version of IP, own address, address of the meter.
'use strict';
const EL = require('echonet-lite');
const [version, local, meter] = process.argv.slice(2);
const print = (o) => process.stdout.write(JSON.stringify(o) + '\n');

function heard(rinfo, els, err) {
  if (err) return print({ error: String(err) });
  print({
    from: rinfo.address, port: rinfo.port, tid: els.TID, seoj: els.SEOJ, deoj: els.DEOJ, esv: els.ESV, details: els.DETAILs,
  });
}

const orders = {
  search: () => EL.search(),
  send: (eoj, esv, ...properties) => EL.sendDetails(meter, '05ff01', eoj, esv, properties.map((p) => {
    const [epc, edt] = p.split('=');
    return { [epc]: edt || '' };
  })),
};

(async () => {
  const socket = await EL.initialize(['05ff01'], heard, Number(version), {
    v4: version === '4' ? local : '', v6: '', ignoreMe: true, autoGetProperties: true, autoGetDelay: 20,
  });
  const up = () => print({ ready: true });
  try {
    socket.address();
    up();
  } catch {
    socket.once('listening', up);
  }
  require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
    const [order, ...args] = line.trim().split(' ');
    orders[order](...args);
  });
})();
