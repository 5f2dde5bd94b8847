// Sends records with kafkajs and its default partitioner: an object on standard input,
// {"servers": "host:port", "batches": [{"codec", "topic", "records": [{"key", "value"}]}]}.
// Prints the number of records sent.
'use strict'

const { Kafka, CompressionCodecs, CompressionTypes, logLevel } = require('kafkajs')
const lz4 = require('lz4-napi')
const snappy = require('kafkajs-snappy')
const zstd = require('@bokuweb/zstd-wasm')

const CODECS = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
}

CompressionCodecs[CompressionTypes.Snappy] = snappy
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async (encoder) => lz4.compressFrame(encoder.buffer),
  decompress: async (buffer) => lz4.decompressFrame(buffer),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => Buffer.from(zstd.compress(encoder.buffer)),
  decompress: async (buffer) => Buffer.from(zstd.decompress(buffer)),
})

async function main() {
  const chunks = []
  for await (const chunk of process.stdin) chunks.push(chunk)
  const { servers, batches } = JSON.parse(Buffer.concat(chunks).toString())
  await zstd.init()
  const kafka = new Kafka({ brokers: servers.split(','), logLevel: logLevel.ERROR })
  const producer = kafka.producer()
  await producer.connect()
  let sent = 0
  for (const { codec, topic, records } of batches) {
    await producer.send({ topic, compression: CODECS[codec], messages: records })
    sent += records.length
  }
  await producer.disconnect()
  console.log(sent)
}

main()
