// The texts of the page in both languages.
export const texts = {
  en: {
    otherLanguage: '中文',
    otherLanguageName: '切换到中文',
    settings: 'Settings',
    clear: 'Clear',
    temperature: 'Temperature',
    temperatureHint: '0: always the most likely token; higher: more varied',
    topK: 'Top-k',
    topKHint: 'Samples from this many most likely tokens; 0: all',
    conversation: 'Conversation',
    dropHere: 'Show me an image',
    dropHow: 'Drop it here, paste it, or click to choose; several are fine',
    dropNow: 'Drop to add',
    examples: 'Example questions',
    attached: 'Images for the next question',
    choose: 'Choose images',
    question: 'Question',
    questionHint: 'Ask about the image…',
    send: 'Ask',
    stop: 'Stop the answer',
    reading: 'The image is still being read; then you can ask.',
    remove: 'Remove image',
    image: 'Image',
    keys: 'Enter asks · Shift+Enter begins a line · Esc stops the answer',
    stopped: 'stopped',
    cutShort: 'the answer reached its maximum length',
    turnsSkipped: (n) => (n === 1 ? 'the oldest turn was dropped: the conversation had grown too long'
      : `the oldest ${n} turns were dropped: the conversation had grown too long`),
    otherModel: 'the server has another model now',
    speed: (tokens, seconds) => `${tokens} tokens in ${seconds} s`,
    notAnImage: (name) => `“${name}” is not an image that can be read. JPEG, PNG, WebP, GIF and BMP are fine.`,
    tooManyImages: (n) => `At most ${n} images can be shown at once.`,
    tooLarge: (name) => `“${name}” is too large.`,
    noServer: 'The server does not answer. Is web_chat still running?',
    broken: 'The answer broke off: the connection was lost.',
    exampleList: {
      none: ['What can you do?'],
      one: ['What is in the image?', 'Which colour is the shape?', 'Where is the shape?', 'How many shapes are there?'],
      several: ['Name all the differences between these images.', 'What do these images have in common?'],
    },
  },
  zh: {
    otherLanguage: 'English',
    otherLanguageName: 'Switch to English',
    settings: '设置',
    clear: '清空',
    temperature: '温度',
    temperatureHint: '0：总选最可能的 token；越大越多样',
    topK: 'Top-k',
    topKHint: '只在这么多个最可能的 token 中抽取；0：全部',
    conversation: '对话',
    dropHere: '给我看一张图片',
    dropHow: '拖放到这里、粘贴，或点击选择；可以多张',
    dropNow: '松开以添加',
    examples: '示例问题',
    attached: '下一个问题的图片',
    choose: '选择图片',
    question: '问题',
    questionHint: '就图片提问……',
    send: '提问',
    stop: '停止回答',
    reading: '图片仍在读取，完成后即可提问。',
    remove: '移除图片',
    image: '图片',
    keys: 'Enter 提问 · Shift+Enter 换行 · Esc 停止回答',
    stopped: '已停止',
    cutShort: '回答已达到最大长度',
    turnsSkipped: (n) => `对话过长，最早的 ${n} 轮已略去`,
    otherModel: '服务器现在使用另一个模型',
    speed: (tokens, seconds) => `${tokens} 个 token，${seconds} 秒`,
    notAnImage: (name) => `“${name}”不是可读取的图片。支持 JPEG、PNG、WebP、GIF 和 BMP。`,
    tooManyImages: (n) => `一次最多 ${n} 张图片。`,
    tooLarge: (name) => `“${name}”太大。`,
    noServer: '服务器没有响应。web_chat 还在运行吗？',
    broken: '回答中断：连接已断开。',
    exampleList: {
      none: ['你能做什么？'],
      one: ['这个图片描述的是什么内容？', '图中是什么？', '图形是什么颜色？', '图形在哪里？'],
      several: ['这些图片有什么不同？', '这些图片有什么相同之处？'],
    },
  },
};

export function firstLanguage() {
  let saved = null;
  try {
    saved = localStorage.getItem('language');
  } catch (error) { /* storage may be forbidden */ }
  return saved === 'zh' || saved === 'en' ? saved : navigator.language.startsWith('zh') ? 'zh' : 'en';
}

export function rememberLanguage(language) {
  try {
    localStorage.setItem('language', language);
  } catch (error) { /* storage may be forbidden */ }
}
