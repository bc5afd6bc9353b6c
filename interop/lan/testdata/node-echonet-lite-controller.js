// A controller made of npm node-echonet-lite: it finds the meter by multicast to the node profile of instance 0, reads
// the property maps, and then the values asked for, one at a time, as often as it is told. It prints one JSON object a
// line: the node found, the maps, and each value as the library understands it, with the service of the answer.
//
// Arguments: own address, address of the meter, rounds, EPCs.
'use strict';
const EchonetLite = require('node-echonet-lite');
const [local, meter, rounds, ...epcs] = process.argv.slice(2);
const eoj = [2, 0x88, 1];
const print = (o) => process.stdout.write(JSON.stringify(o) + '\n');
const el = new EchonetLite({ type: 'lan', lang: 'en', netif: local });

function fail(err) {
  console.error(err);
  process.exit(1);
}

const promise = (f) => new Promise((resolve, reject) => f((err, res) => (err ? reject(err) : resolve(res))));

async function read() {
  const maps = await promise((done) => el.getPropertyMaps(meter, eoj, done));
  print({ maps: maps.message.data });
  for (let i = 0; i < Number(rounds); i += 1) {
    for (const epc of epcs) {
      const res = await promise((done) => el.getPropertyValue(meter, eoj, parseInt(epc, 16), done));
      print({ epc, esv: res.message.esv, value: res.message.data });
    }
  }
  el.close(() => process.exit(0));
}

el.init((err) => {
  if (err) fail(err);
  el.startDiscovery((err, res) => {
    if (err) fail(err);
    if (res.device.address !== meter) return;
    el.stopDiscovery();
    print({ found: res.device.address, port: res.device.port, eoj: res.device.eoj });
    read().catch(fail);
  });
});
