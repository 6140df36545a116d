// A drover's crook around a small herd.
export function Mark({ size = 24 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden>
      <rect width="32" height="32" rx="8" fill="#0b5f66" />
      <path d="M10 25V12.5a6 6 0 0 1 12 0v1" fill="none" stroke="#fff" strokeWidth="2.6" strokeLinecap="round" />
      <g fill="#a5d2d6">
        <circle cx="16" cy="19" r="1.9" />
        <circle cx="22" cy="19" r="1.9" />
        <circle cx="19" cy="24" r="1.9" />
      </g>
    </svg>
  )
}
