// The server's API, as any other client uses it.

export class ApiFailure extends Error {
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

export async function settings() {
  const response = await fetch('settings.json');
  return response.json();
}

async function failureOf(response) {
  try {
    const { error } = await response.json();
    return new ApiFailure(error.message, error.code);
  } catch (problem) {
    return new ApiFailure(`HTTP ${response.status}`, null);
  }
}

// Streams an answer; onText hears every piece. Resolves to {finish, usage}. Rejects with ApiFailure, or as fetch does
// (an AbortError after signal).
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
        return result;
      }
      const json = JSON.parse(data);
      if (json.error) {
        throw new ApiFailure(json.error.message, json.error.code);
      }
      const choice = json.choices[0];
      if (choice && choice.delta.content) {
        onText(choice.delta.content);
      }
      result.finish = (choice && choice.finish_reason) || result.finish;
      result.usage = json.usage || result.usage;
    }
  }
}
