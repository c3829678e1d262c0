import { ApiFailure, settings, streamAnswer } from './api.js';
import { imageOfFile } from './images.js';
import { rememberLanguage } from './texts.js';
import { IMAGES_SHARE, fittingTurns, messagesOf, shortened } from './turns.js';
import {
  addText, byId, flushText, imageCount, resizeQuestion, say, scrollDown, showAlert, showButtons, showNote, showTexts, showTurn, showWaiting, state,
} from './view.js';

// ---- images

// No question can be asked until all files are read.
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

// Shows an alert if no further image may be added.
function hasRoom() {
  const limit = state.server.max_pictures;
  if (state.waiting.length >= limit) {
    showAlert(() => say().tooManyImages(limit));
  }
  return state.waiting.length < limit;
}

async function addFile(file, conversation) {
  if (!hasRoom()) {
    return;
  }
  try {
    const image = await imageOfFile(file);
    // Meanwhile the conversation may have been cleared, or another image added.
    if (state.turns !== conversation || !hasRoom()) {
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

// Reads name, limits and defaults, also after a restart of the server, which may bring another model.
async function readSettings() {
  state.server = await settings();
  byId('model').textContent = state.server.model;
}

// ---- questions

// Streams the answer into the turn and resolves to {finish, usage}. Turns that do not fit are marked as skipped after the
// server has answered without them, and never sent again.
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
      earlier.forEach((one) => { one.skipped = !turns.includes(one); });
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

function showFailure(turn, error) {
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

// Puts a question without an answer back into the composer, unless something new is there.
function restoreQuestion(turn, text) {
  if (!byId('question').value) {
    byId('question').value = text;
    resizeQuestion();
  }
  if (state.waiting.length === 0) {
    state.waiting = turn.images;
    showWaiting();
  }
}

// Sets the focus if it was on a button that is hidden now.
function keepFocus(target) {
  if (document.activeElement === document.body || document.activeElement.hidden) {
    byId(target).focus();
  }
}

// Moves the question from the composer into the conversation.
function newTurn(text, question) {
  const turn = { images: state.waiting, question, answer: null, skipped: false, notes: [], failure: null, view: null, text: null, unshown: '' };
  state.turns.push(turn);
  state.waiting = [];
  if (byId('question').value === text) {
    byId('question').value = ''; // an example keeps a text that is being written
  }
  resizeQuestion();
  showAlert(null);
  showTurn(turn);
  showWaiting();
  keepFocus('stop');
  return turn;
}

function noteResult(turn, result, milliseconds) {
  turn.answer = turn.answer || '';
  const seconds = (milliseconds / 1000).toFixed(milliseconds < 1000 ? 2 : 1);
  turn.notes.push(() => say().speed(result.usage.completion_tokens, seconds));
  if (result.finish === 'length') {
    turn.notes.push(() => say().cutShort);
  }
  const skipped = state.turns.filter((one) => one.skipped).length;
  if (skipped > 0) {
    turn.notes.push(() => say().turnsSkipped(skipped));
  }
}

async function ask(text) {
  const question = text.trim() || (state.waiting.length > 0 ? say().exampleList[imageCount()][0] : '');
  if (!question || state.running || state.loading > 0) {
    return;
  }
  const earlier = state.turns.filter((turn) => turn.answer !== null && !turn.skipped);
  state.running = new AbortController();
  const turn = newTurn(text, question);
  const start = performance.now();
  try {
    const result = await streamTurn(turn, earlier, state.running.signal);
    noteResult(turn, result, performance.now() - start);
  } catch (error) {
    showFailure(turn, error);
    if (turn.answer === null && state.turns.includes(turn)) {
      restoreQuestion(turn, text);
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
  state.running?.abort();
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
  for (const id of ['choose', 'welcome-drop']) {
    byId(id).addEventListener('click', () => byId('files').click());
  }
  byId('files').addEventListener('change', () => {
    addFiles([...byId('files').files]);
    byId('files').value = '';
  });
  document.addEventListener('paste', (event) => {
    if (event.clipboardData.files.length > 0) {
      event.preventDefault();
      addFiles([...event.clipboardData.files]);
    }
  });
}

function listenForDrops() {
  const isFiles = (event) => event.dataTransfer && [...event.dataTransfer.types].includes('Files');
  const showVeil = (shown) => document.body.classList.toggle('dropping', shown);
  document.addEventListener('dragover', (event) => {
    if (isFiles(event)) {
      event.preventDefault();
      showVeil(true);
    }
  });
  document.addEventListener('dragleave', (event) => {
    if (event.relatedTarget === null) {
      showVeil(false);
    }
  });
  document.addEventListener('drop', (event) => {
    showVeil(false);
    if (isFiles(event)) {
      event.preventDefault();
      addFiles([...event.dataTransfer.files]);
    }
  });
}

// Whether the key belongs to an input method that composes a word. Safari ends the composition before its last key, and
// only the code 229 tells.
function isInputMethod(event) {
  return event.isComposing || event.keyCode === 229;
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
    if (event.key === 'Enter' && !event.shiftKey && !isInputMethod(event)) {
      event.preventDefault();
      ask(byId('question').value);
    }
  });
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && !isInputMethod(event)) {
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
  listenForDrops();
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
