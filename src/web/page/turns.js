// Which turns of the conversation go with a question, and how they look in a request.

function contentOf(turn) {
  if (turn.images.length === 0) {
    return turn.question;
  }
  return [...turn.images.map((image) => ({ type: 'image_url', image_url: { url: image.url } })),
    { type: 'text', text: turn.question }];
}

export function messagesOf(turns) {
  const messages = [];
  for (const turn of turns) {
    messages.push({ role: 'user', content: contentOf(turn) });
    if (turn.answer !== null) {
      messages.push({ role: 'assistant', content: turn.answer });
    }
  }
  return messages;
}

// Of a request's bytes; the rest is for words.
export const IMAGES_SHARE = 0.9;

function fits(turns, server) {
  const images = turns.flatMap((turn) => turn.images);
  const bytes = images.reduce((sum, image) => sum + image.url.length, 0);
  return turns.length * 2 - 1 <= server.max_messages && images.length <= server.max_pictures && bytes <= server.max_body_bytes * IMAGES_SHARE;
}

// What a request can hold of them by the server's own limits; the oldest go. The last one always stays.
export function fittingTurns(turns, server) {
  let kept = turns;
  while (kept.length > 1 && !fits(kept, server)) {
    kept = kept.slice(1);
  }
  return kept;
}

// Without the older half of the turns before the last one: only the server knows how many tokens they are, and asking
// it after every turn would take a refused request each.
export function shortened(turns) {
  return turns.slice(Math.ceil((turns.length - 1) / 2));
}
