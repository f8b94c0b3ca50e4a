// Icons, 20 x 20, drawn with the colour of the text.

const PATHS = {
  play: '<path d="M6.5 4.2v11.6L16 10z" fill="currentColor"/>',
  pause: '<path d="M6 4.5h2.6v11H6zM11.4 4.5H14v11h-2.6z" fill="currentColor" stroke="none"/>',
  back: '<path d="M12 5l-5 5 5 5"/>',
  next: '<path d="M8 5l5 5-5 5"/>',
  loop: '<path d="M4 9a5 5 0 0 1 5-4h6M13 2.8 15.2 5 13 7.2M16 11a5 5 0 0 1-5 4H5M7 17.2 4.8 15 7 12.8"/>',
  side: '<rect x="3" y="4" width="6" height="12" rx="1.5"/><rect x="11" y="4" width="6" height="12" rx="1.5"/>',
  over: '<circle cx="7.8" cy="10" r="5"/><circle cx="12.2" cy="10" r="5"/>',
  follow: '<circle cx="10" cy="10" r="5"/><circle cx="10" cy="10" r="1.2" fill="currentColor"/><path d="M10 2.500V5M10 15v2.500M2.5 10H5M15 10h2.5"/>',
  reset: '<path d="M4.5 10a5.5 5.5 0 1 1 1.7 4M4 16v-3.200h3.2"/>',
  trail: '<path d="M3.5 15.500c4 1 4.5-3 6.5-5.500s2.5-5 6.5-4.5" stroke-dasharray="2.6 2.4"/><circle cx="16" cy="5.4" r="1.5" fill="currentColor"/>',
  feet: '<path d="M6.5 3.500c2 0 2.4 2 2.2 4-.2 1.6-.7 2-.7 3.500H5.200c0-1.5-.9-2.3-1-4-.1-2 .6-3.5 2.3-3.500zM5.3 13h2.600c.1 1.5-.4 2.3-1.3 2.300S5.3 14.5 5.3 13zM13.5 5.500c1.7 0 2.4 1.5 2.3 3.5-.1 1.5-1 2.5-1 4H12c0-1.5-.5-2-.7-3.5-.2-2 .2-4 2.2-4zM12.1 14.800h2.600c0 1.3-.4 2.2-1.3 2.200s-1.4-.8-1.3-2.200z" stroke-width="1.2"/>',
  colours: '<circle cx="10" cy="10" r="6.5"/><circle cx="7.5" cy="8.5" r="1.1" fill="currentColor"/><circle cx="12" cy="7.8" r="1.1" fill="currentColor"/><circle cx="12.6" cy="12" r="1.1" fill="currentColor"/>',
  theme: '<circle cx="10" cy="10" r="6.5"/><path d="M10 3.500v13a6.5 6.5 0 0 0 0-13z" fill="currentColor"/>',
  picture: '<rect x="3" y="5.5" width="14" height="10.5" rx="2"/><circle cx="10" cy="10.8" r="2.8"/><path d="M7.5 5.5 8.5 3.500h3l1 2"/>',
  download: '<path d="M10 3.500v8.500M6.5 9l3.5 3.500L13.5 9M4 16h12"/>',
  list: '<path d="M7.5 5.500h9M7.5 10h9M7.5 14.500h9"/><path d="M3.8 5.500h.1M3.8 10h.1M3.8 14.500h.1" stroke-width="2.4"/>',
  help: '<circle cx="10" cy="10" r="6.8"/><path d="M8.2 8.200c0-2.6 3.7-2.5 3.7-.1 0 1.5-1.9 1.7-1.9 3.300M10 13.900v.1"/>',
};

export function icon(name) {
  return `<svg viewBox="0 0 20 20" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round">${PATHS[name]}</svg>`;
}
