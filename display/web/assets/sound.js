// Tones by WebAudio, and speech by voices that are on this device.

let audio;

// play plays notes, each as hertz and milliseconds. A browser that wants to be
// touched first stays silent.
export function play(notes) {
  audio ??= new AudioContext();
  if (audio.state === "suspended") { audio.resume(); return; }
  let at = audio.currentTime;
  for (const [hertz, ms] of notes) {
    const end = at + ms / 1000;
    if (hertz > 0) {
      const tone = audio.createOscillator(), gain = audio.createGain();
      tone.frequency.value = hertz;
      tone.type = hertz < 500 ? "square" : "sine"; // small loudspeakers carry the overtones of a low tone
      gain.gain.setValueAtTime(0, at);
      gain.gain.linearRampToValueAtTime(hertz < 500 ? 0.15 : 0.4, at + 0.008);
      gain.gain.setValueAtTime(hertz < 500 ? 0.15 : 0.4, Math.max(at + 0.008, end - 0.012));
      gain.gain.linearRampToValueAtTime(0, end);
      tone.connect(gain).connect(audio.destination);
      tone.start(at);
      tone.stop(end);
    }
    at = end;
  }
}

// speak says each text with a voice of its language. A voice that is not on the
// device would send the words away, so it is not used.
export function speak(languages, texts) {
  if (!("speechSynthesis" in window)) return;
  speechSynthesis.cancel();
  const voices = speechSynthesis.getVoices().filter(voice => voice.localService);
  texts.forEach((text, i) => {
    const voice = voices.find(voice => voice.lang.toLowerCase().split(/[-_]/)[0] === languages[i].split("-")[0]);
    if (!voice) return;
    const words = new SpeechSynthesisUtterance(text);
    words.voice = voice;
    words.lang = voice.lang;
    speechSynthesis.speak(words);
  });
}
