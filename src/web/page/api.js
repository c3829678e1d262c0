// A client of the server's API.

export class ApiFailure extends Error {
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

export const settings = async () => (await fetch('settings.json')).json();

async function failureOf(response) {
  try {
    const { error } = await response.json();
    return new ApiFailure(error.message, error.code);
  } catch (problem) {
    return new ApiFailure(`HTTP ${response.status}`, null);
  }
}

// The JSON of each event of a stream, up to [DONE].
async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) {
      throw new ApiFailure('', 'broken');
    }
    const events = (waiting + value).split('\n\n');
    waiting = events.pop();
    for (const event of events) {
      const data = event.slice('data: '.length);
      if (data === '[DONE]') {
        return;
      }
      yield JSON.parse(data);
    }
  }
}

// Streams an answer and calls onText with each piece. Resolves to {finish, usage}. Rejects with ApiFailure, or as fetch
// does (an AbortError after signal).
export async function streamAnswer(body, signal, onText) {
  const response = await fetch('v1/chat/completions', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  if (!response.ok) {
    throw await failureOf(response);
  }
  const result = { finish: null, usage: null };
  for await (const event of eventsOf(response)) {
    if (event.error) {
      throw new ApiFailure(event.error.message, event.error.code);
    }
    const choice = event.choices[0];
    if (choice?.delta.content) {
      onText(choice.delta.content);
    }
    result.finish = choice?.finish_reason || result.finish;
    result.usage = event.usage || result.usage;
  }
  return result;
}
