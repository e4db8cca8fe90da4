// Scores a batch of feature vectors with the model, in the runtime's native library.
import { fileURLToPath } from 'node:url';
import { InferenceSession, Tensor } from 'onnxruntime-node';

const model = fileURLToPath(new URL('model.onnx', import.meta.url));
const session = await InferenceSession.create(model, { intraOpNumThreads: 1, interOpNumThreads: 1 });

export async function run(rows) {
  const features = rows[0].length;
  const input = new Float32Array(rows.length * features);
  rows.forEach((row, index) => input.set(row, index * features));
  const { output } = await session.run({ input: new Tensor('float32', input, [rows.length, features]) });
  const classes = output.dims[1];
  const scores = output.data;
  return rows.map((_, index) => Array.from(scores.subarray(index * classes, (index + 1) * classes)));
}
