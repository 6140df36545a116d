import { createTheme, type CSSVariablesResolver, type MantineColorsTuple } from '@mantine/core'

// Every shade 7 carries white text at 4.5:1 or better; every shade 3 is readable on the dark ground.
const drover: MantineColorsTuple = [
  '#e8f5f6', '#d2e8ea', '#a5d2d6', '#7cc0c6', '#52a9b1', '#35969f', '#21858e', '#137078', '#0b5f66', '#004c52',
]
const red: MantineColorsTuple = [
  '#fdeeed', '#f9dad8', '#f2b3af', '#f29a94', '#ea7169', '#dd5148', '#d03f36', '#bd2f27', '#a0241d', '#821a14',
]
const green: MantineColorsTuple = [
  '#e9f7ee', '#d3ecdc', '#a8d9ba', '#84c99c', '#5cb47b', '#3f9f62', '#2d8b51', '#1f7541', '#166034', '#0d4b27',
]
const amber: MantineColorsTuple = [
  '#fdf4e3', '#f8e6c2', '#f0cf8e', '#e6b95c', '#d9a136', '#c48a1d', '#a87310', '#8a5c08', '#714a04', '#593a02',
]
const blue: MantineColorsTuple = [
  '#ebf2fc', '#d5e3f7', '#abc6ee', '#8db3ea', '#6596de', '#447dd0', '#326bc0', '#2659a6', '#1d488a', '#14386e',
]
const gray: MantineColorsTuple = [
  '#f6f8f8', '#eef1f2', '#e3e8ea', '#d3dadd', '#bbc5c9', '#8f9ca2', '#6b7980', '#4d5a60', '#353f44', '#1f272b',
]
const dark: MantineColorsTuple = [
  '#d8dfe2', '#b9c4c9', '#98a6ac', '#6d7b82', '#3a464c', '#2c363b', '#1d2529', '#141a1d', '#0f1416', '#0a0e10',
]

export const theme = createTheme({
  colors: { drover, red, green, amber, blue, gray, dark },
  primaryColor: 'drover',
  primaryShade: { light: 7, dark: 7 },
  fontFamily: 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif',
  fontFamilyMonospace: 'ui-monospace, "SF Mono", "Cascadia Mono", "JetBrains Mono", Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace',
  headings: {
    fontWeight: '600',
    sizes: {
      h1: { fontSize: '22px', lineHeight: '28px' },
      h2: { fontSize: '16px', lineHeight: '24px' },
      h3: { fontSize: '14px', lineHeight: '20px' },
    },
  },
  fontSizes: { xs: '12px', sm: '13px', md: '14px', lg: '16px', xl: '20px' },
  lineHeights: { xs: '16px', sm: '20px', md: '20px', lg: '24px', xl: '28px' },
  spacing: { xs: '8px', sm: '12px', md: '16px', lg: '24px', xl: '32px' },
  radius: { xs: '2px', sm: '4px', md: '6px', lg: '8px', xl: '12px' },
  defaultRadius: 'md',
  cursorType: 'pointer',
  respectReducedMotion: true,
  components: {
    Button: { defaultProps: { size: 'sm' } },
    Tooltip: { defaultProps: { openDelay: 300, withArrow: true, multiline: true, maw: 360 } },
    Modal: { styles: { title: { fontWeight: 600, fontSize: 16 } }, defaultProps: { closeButtonProps: { 'aria-label': 'Close' }, transitionProps: { duration: 120 } } },
    Menu: { defaultProps: { withInitialFocusPlaceholder: false, shadow: 'md', position: 'bottom-end', transitionProps: { duration: 80 } } },
    Popover: { defaultProps: { shadow: 'md', transitionProps: { duration: 80 } } },
    TextInput: { defaultProps: { size: 'sm' } },
    Select: { defaultProps: { size: 'sm', allowDeselect: false } },
    Card: { defaultProps: { withBorder: true, padding: 'md', radius: 'lg' } },
    Tabs: { defaultProps: { keepMounted: false } },
  },
})

// Mantine's own dimmed, placeholder and light-variant colours miss 4.5:1 on our grounds.
export const cssVariables: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    '--mantine-color-body': '#ffffff',
    '--mantine-color-text': '#1b2327',
    '--mantine-color-dimmed': '#546168',
    '--mantine-color-placeholder': '#66737a',
    '--mantine-color-error': '#bd2f27',
    '--mantine-color-default-border': '#d3dadd',
    ...lightVariants((tuple) => tuple[8], (tuple) => tuple[0], (tuple) => tuple[1]),
  },
  dark: {
    '--mantine-color-body': '#141a1d',
    '--mantine-color-text': '#d8dfe2',
    '--mantine-color-dimmed': '#98a6ac',
    '--mantine-color-placeholder': '#87959b',
    '--mantine-color-error': '#f29a94',
    '--mantine-color-default-border': '#333e44',
    '--mantine-color-anchor': '#7cc0c6',
    ...lightVariants((tuple) => tuple[3], (tuple) => mix(tuple[7]), (tuple) => mix(tuple[7], 34)),
  },
})

const palette = { drover, red, green, amber, blue }

function mix(color: string | undefined, percent = 24): string {
  return `color-mix(in srgb, ${color ?? 'transparent'} ${percent}%, #141a1d)`
}

type Pick = (tuple: MantineColorsTuple) => string | undefined

function lightVariants(text: Pick, ground: Pick, hover: Pick): Record<string, string> {
  const out: Record<string, string> = {}
  for (const [name, tuple] of Object.entries(palette)) {
    out[`--mantine-color-${name}-light`] = ground(tuple) ?? ''
    out[`--mantine-color-${name}-light-hover`] = hover(tuple) ?? ''
    out[`--mantine-color-${name}-light-color`] = text(tuple) ?? ''
    out[`--mantine-color-${name}-outline`] = text(tuple) ?? ''
    out[`--mantine-color-${name}-text`] = text(tuple) ?? ''
  }
  return out
}
