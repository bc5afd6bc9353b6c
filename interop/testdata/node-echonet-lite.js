// Joins a meter through a Wi-SUN module with node-echonet-lite and prints its instantaneous power.
// Arguments: adapter, path of the port. Environment: ROUTEB_ID, ROUTEB_PASSWORD.
'use strict';

// node-echonet-lite 0.6.0 was written for a serialport whose module was the class itself.
const serialport = require('serialport');
const name = require.resolve('serialport');
require.cache[name].exports = class extends serialport.SerialPort {
  constructor(path, options) { super({ path, ...options }); }
};

const EchonetLite = require('node-echonet-lite');
const [adapter, path] = process.argv.slice(2);
const el = new EchonetLite({
  type: 'wisunb', lang: 'en', adapter, path, id: process.env.ROUTEB_ID, pass: process.env.ROUTEB_PASSWORD,
});
const fail = (err) => { console.error(err); process.exit(1); };
setTimeout(() => fail('no answer in time'), 40000);

el.init((err) => {
  if (err) fail(err);
  el.startDiscovery((err, res) => {
    if (err) fail(err);
    el.stopDiscovery();
    el.getPropertyValue(res.device.address, [0x02, 0x88, 0x01], 0xE7, (err, res) => {
      if (err) fail(err);
      console.log(JSON.stringify(res.message.data));
      process.exit(0);
    });
  });
});
