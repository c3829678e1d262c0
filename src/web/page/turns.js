// Chooses the turns of a conversation that a request holds, and writes them as its messages.

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

// Share of a request's bytes that images may take; the rest is for texts.
export const IMAGES_SHARE = 0.9;

function fits(turns, server) {
  const images = turns.flatMap((turn) => turn.images);
  const bytes = images.reduce((sum, image) => sum + image.url.length, 0);
  return turns.length * 2 - 1 <= server.max_messages && images.length <= server.max_pictures && bytes <= server.max_body_bytes * IMAGES_SHARE;
}

// The newest turns that fit into a request by the server's limits. The last turn always stays.
export function fittingTurns(turns, server) {
  let kept = turns;
  while (kept.length > 1 && !fits(kept, server)) {
    kept = kept.slice(1);
  }
  return kept;
}

// Drops the older half of the turns before the last one. Only the server knows their tokens; dropping one turn at a time
// would cost a refused request each.
export function shortened(turns) {
  return turns.slice(Math.ceil((turns.length - 1) / 2));
}
