// The state of the page, and the functions that show it.
import { firstLanguage, texts } from './texts.js';

export const byId = (id) => document.getElementById(id);
export const state = {
  language: firstLanguage(),
  server: { model: '', temperature: 0.5, top_k: 8, max_tokens: 512, max_messages: 256, max_pictures: 8, max_body_bytes: 24 << 20 },
  waiting: [], // images for the next question
  loading: 0, // files that are still read for the next question
  turns: [], // {images, question, answer, skipped, notes, failure, view, text, unshown}
  running: null, // AbortController of the answer that is being written
  alert: null, // () => text
  askExample: null, // (text) => …
};
export const say = () => texts[state.language];

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

export function showTexts() {
  document.documentElement.lang = state.language === 'zh' ? 'zh-CN' : 'en';
  for (const part of document.querySelectorAll('[data-text]')) {
    part.textContent = say()[part.dataset.text];
  }
  for (const part of document.querySelectorAll('[data-label]')) {
    part.setAttribute('aria-label', say()[part.dataset.label]);
    if (part.tagName === 'BUTTON') {
      part.title = say()[part.dataset.label];
    }
  }
  byId('question').placeholder = say().questionHint;
  byId('language').textContent = say().otherLanguage;
  byId('language').setAttribute('aria-label', say().otherLanguageName);
  for (const turn of state.turns) {
    showNote(turn);
  }
  showAlert(state.alert);
  showWaiting();
}

export function showAlert(text) {
  state.alert = text;
  byId('alert').hidden = !text;
  byId('alert').textContent = text ? text() : '';
}

export function imageCount() {
  const count = state.waiting.length;
  return count === 0 ? 'none' : count === 1 ? 'one' : 'several';
}

function thumbnail(image, index) {
  const remove = () => {
    state.waiting.splice(index, 1);
    showWaiting();
    byId('question').focus();
  };
  return element('li', {},
    element('img', { src: image.url, alt: `${say().image} ${index + 1}: ${image.name}` }),
    element('button', { type: 'button', ariaLabel: `${say().remove} ${index + 1}`, onclick: remove }, '×'));
}

function exampleButton(text) {
  return element('button', { type: 'button', onclick: () => state.askExample(text) }, text);
}

export function showWaiting() {
  const loading = Array.from({ length: state.loading }, () => element('li', { className: 'loading' }, '…'));
  byId('thumbnails').replaceChildren(...state.waiting.map(thumbnail), ...loading);
  byId('thumbnails').hidden = state.waiting.length + state.loading === 0;
  byId('reading').textContent = state.loading > 0 ? say().reading : '';
  const follows = state.waiting.length === 0 && state.turns.some((turn) => turn.images.length > 0);
  byId('examples').replaceChildren(...say().exampleList[follows ? 'one' : imageCount()].map(exampleButton));
  showButtons();
  scrollDown(false);
}

export function showButtons() {
  const running = state.running !== null;
  byId('send').hidden = running;
  byId('stop').hidden = !running;
  byId('send').disabled = state.loading > 0 || (!byId('question').value.trim() && state.waiting.length === 0);
  byId('welcome').hidden = state.turns.length > 0;
  for (const button of byId('examples').children) {
    button.disabled = running || state.loading > 0;
  }
}

export function scrollDown(always) {
  const scroller = byId('scroller');
  if (always || scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 160) {
    scroller.scrollTop = scroller.scrollHeight;
  }
}

export function showTurn(turn) {
  const div = (className, ...children) => element('div', { className }, ...children);
  const images = turn.images.map((image) => (
    element('img', { src: image.url, alt: `${say().image}: ${image.name}`, onload: () => scrollDown(false) })));
  const asked = div('asked', div('bubble', turn.question));
  if (images.length > 0) {
    asked.prepend(div(images.length > 1 ? 'images several' : 'images', ...images));
  }
  turn.text = document.createTextNode('');
  turn.view = div('answer writing', div('bubble', turn.text), element('p', { className: 'note' }));
  byId('conversation').append(div('turn', asked, turn.view));
  scrollDown(true);
}

// Shows a piece of an answer with the next frame, because a fast model writes more pieces than a screen has frames.
export function addText(turn, text) {
  if (!turn.unshown) {
    requestAnimationFrame(() => flushText(turn));
  }
  turn.unshown += text;
}

export function flushText(turn) {
  turn.text.appendData(turn.unshown);
  turn.unshown = '';
  scrollDown(false);
}

export function showNote(turn) {
  if (turn.failure) {
    turn.text.data = turn.failure();
  }
  turn.view.querySelector('.note').textContent = turn.notes.map((note) => note()).join(' · ');
}

export function resizeQuestion() {
  const box = byId('question');
  box.style.height = 'auto';
  box.style.height = `${box.scrollHeight}px`;
}
