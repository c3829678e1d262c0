import { ApiFailure, settings, streamAnswer } from './api.js';
import { imageOfFile } from './images.js';
import { rememberLanguage } from './texts.js';
import { IMAGES_SHARE, fittingTurns, messagesOf, shortened } from './turns.js';
import {
  addText, byId, flushText, imageCount, resizeQuestion, say, scrollDown, showAlert, showButtons, showNote, showTexts, showTurn, showWaiting, state,
} from './view.js';

// ---- images

// The question is held back until all of them are read.
async function addFiles(files) {
  showAlert(null);
  const conversation = state.turns;
  state.loading += files.length;
  showWaiting();
  for (const file of files) {
    await addFile(file, conversation);
    state.loading -= 1;
    showWaiting();
  }
  byId('question').focus();
}

async function addFile(file, conversation) {
  if (state.waiting.length >= state.server.max_pictures) {
    showAlert(() => say().tooManyImages(state.server.max_pictures));
    return;
  }
  try {
    const image = await imageOfFile(file);
    if (state.turns !== conversation) {
      return; // the conversation was cleared meanwhile
    }
    if (state.waiting.length >= state.server.max_pictures) {
      showAlert(() => say().tooManyImages(state.server.max_pictures)); // another one came meanwhile
      return;
    }
    const bytes = state.waiting.reduce((sum, one) => sum + one.url.length, image.url.length);
    if (bytes > state.server.max_body_bytes * IMAGES_SHARE) {
      showAlert(() => say().tooLarge(file.name));
    } else {
      state.waiting.push(image);
    }
  } catch (error) {
    showAlert(() => say().notAnImage(file.name));
  }
}

// ---- the server

// Its name, limits and defaults. The model may be another one than before: a server can be started anew with the page
// still open.
async function readSettings() {
  state.server = await settings();
  byId('model').textContent = state.server.model;
}

// ---- questions

// Streams the answer into the turn. Resolves to the server's {finish, usage}. Turns that do not fit any more are marked,
// once the server has answered without them, and never sent again.
async function streamTurn(turn, earlier, signal) {
  let turns = fittingTurns([...earlier, turn], state.server);
  let knowsModel = false;
  for (;;) {
    try {
      const result = await streamAnswer({
        model: state.server.model,
        messages: messagesOf(turns),
        temperature: Number(byId('temperature').value),
        top_k: Math.max(0, Math.round(Number(byId('top-k').value) || 0)),
      }, signal, (text) => {
        turn.answer = (turn.answer || '') + text;
        addText(turn, text);
      });
      earlier.forEach((one) => { one.leftOut = !turns.includes(one); });
      return result;
    } catch (error) {
      if (error.code === 'context_length_exceeded' && turns.length > 1) {
        turns = shortened(turns);
      } else if (error.code === 'model_not_found' && !knowsModel) {
        knowsModel = true;
        await readSettings();
        turns = fittingTurns(turns, state.server);
        turn.notes.push(() => say().otherModel);
      } else {
        throw error;
      }
    }
  }
}

function tellFailure(turn, error) {
  if (error.name === 'AbortError') {
    turn.notes.push(() => say().stopped);
    return;
  }
  const isOurs = error instanceof ApiFailure;
  const text = () => (isOurs && error.code !== 'broken' ? error.message : isOurs ? say().broken : say().noServer);
  if (turn.answer) {
    turn.notes.push(text);
  } else {
    turn.view.classList.add('failed');
    turn.failure = text;
  }
}

// A question that got no answer goes back to where it was written, unless something new is there already.
function giveBack(turn, text) {
  if (!byId('question').value) {
    byId('question').value = text;
    resizeQuestion();
  }
  if (state.waiting.length === 0) {
    state.waiting = turn.images;
    showWaiting();
  }
}

// Buttons that vanish take the keyboard's focus with them.
function keepFocus(target) {
  if (document.activeElement === document.body || document.activeElement.hidden) {
    byId(target).focus();
  }
}

async function ask(text) {
  const images = state.waiting;
  const question = text.trim() || (images.length > 0 ? say().ask[imageCount()] : '');
  if (!question || state.running || state.loading > 0) {
    return;
  }
  const earlier = state.turns.filter((turn) => turn.answer !== null && !turn.leftOut);
  const turn = { images, question, answer: null, leftOut: false, notes: [], failure: null, view: null, text: null, unshown: '' };
  state.turns.push(turn);
  state.waiting = [];
  state.running = new AbortController();
  if (byId('question').value === text) {
    byId('question').value = ''; // an example leaves what is being written
  }
  resizeQuestion();
  showAlert(null);
  showTurn(turn);
  showWaiting();
  keepFocus('stop');
  const start = performance.now();
  try {
    const result = await streamTurn(turn, earlier, state.running.signal);
    turn.answer = turn.answer || '';
    const passed = (performance.now() - start) / 1000;
    const seconds = passed.toFixed(passed < 1 ? 2 : 1);
    turn.notes.push(() => say().speed(result.usage.completion_tokens, seconds));
    if (result.finish === 'length') {
      turn.notes.push(() => say().cutShort);
    }
    const leftOut = state.turns.filter((one) => one.leftOut).length;
    if (leftOut > 0) {
      turn.notes.push(() => say().turnsLeftOut(leftOut));
    }
  } catch (error) {
    tellFailure(turn, error);
    if (turn.answer === null && state.turns.includes(turn)) {
      giveBack(turn, text);
    }
  }
  flushText(turn);
  turn.view.classList.remove('writing');
  showNote(turn);
  state.running = null;
  showButtons();
  keepFocus('question');
  scrollDown(false);
}

function stop() {
  if (state.running) {
    state.running.abort();
  }
}

function clear() {
  stop();
  state.turns = [];
  state.waiting = [];
  byId('conversation').replaceChildren();
  showAlert(null);
  showWaiting();
  byId('question').focus();
}

// ---- events

function listenForImages() {
  byId('choose').addEventListener('click', () => byId('files').click());
  byId('welcome-drop').addEventListener('click', () => byId('files').click());
  byId('files').addEventListener('change', () => {
    addFiles([...byId('files').files]);
    byId('files').value = '';
  });
  document.addEventListener('paste', (event) => {
    const files = [...event.clipboardData.files];
    if (files.length > 0) {
      event.preventDefault();
      addFiles(files);
    }
  });
  const isFiles = (event) => event.dataTransfer && [...event.dataTransfer.types].includes('Files');
  document.addEventListener('dragover', (event) => {
    if (isFiles(event)) {
      event.preventDefault();
      document.body.classList.add('dropping');
    }
  });
  document.addEventListener('dragleave', (event) => {
    if (event.relatedTarget === null) {
      document.body.classList.remove('dropping');
    }
  });
  document.addEventListener('drop', (event) => {
    document.body.classList.remove('dropping');
    if (isFiles(event)) {
      event.preventDefault();
      addFiles([...event.dataTransfer.files]);
    }
  });
}

function listenForQuestions() {
  byId('composer').addEventListener('submit', (event) => {
    event.preventDefault();
    ask(byId('question').value);
  });
  byId('question').addEventListener('input', () => {
    resizeQuestion();
    showButtons();
  });
  byId('question').addEventListener('keydown', (event) => {
    // While an input method composes a word, Enter belongs to it.
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      ask(byId('question').value);
    }
  });
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') {
      stop();
    }
  });
  byId('stop').addEventListener('click', stop);
  byId('clear').addEventListener('click', clear);
}

function listenForSettings() {
  byId('language').addEventListener('click', () => {
    state.language = state.language === 'zh' ? 'en' : 'zh';
    rememberLanguage(state.language);
    showTexts();
  });
  byId('settings-button').addEventListener('click', () => {
    const opens = byId('settings').hidden;
    byId('settings').hidden = !opens;
    byId('settings-button').setAttribute('aria-expanded', String(opens));
  });
  byId('temperature').addEventListener('input', () => {
    byId('temperature-value').textContent = byId('temperature').value;
  });
}

async function begin() {
  state.askExample = ask;
  listenForImages();
  listenForQuestions();
  listenForSettings();
  showTexts();
  try {
    await readSettings();
  } catch (error) {
    showAlert(() => say().noServer);
  }
  byId('temperature').value = state.server.temperature;
  byId('temperature-value').textContent = byId('temperature').value;
  byId('top-k').value = state.server.top_k;
  byId('question').focus();
}

begin();
