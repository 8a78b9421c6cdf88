// The icons that the pages show, from Lucide; a new one is added here and nowhere else.
export const ICONS = [
  "activity", "arrow-right", "ban", "box", "brain", "camera", "check", "chevron-down", "chevron-left", "chevron-right",
  "circle-alert", "circle-check", "circle-dashed", "circle-x", "clock", "copy", "cpu", "download",
  "file-archive", "folder", "folder-up", "gpu", "hard-drive", "house", "image", "image-plus", "images", "info", "key",
  "layers", "link", "loader-circle", "log-in", "log-out", "memory-stick", "menu", "monitor", "moon", "pause", "pencil", "play",
  "plus", "rotate-ccw", "search", "server", "settings", "share-2", "shield-check", "sparkles", "sun", "sun-moon", "terminal",
  "trash-2", "triangle-alert", "upload", "user", "users", "wifi-off", "x",
];
