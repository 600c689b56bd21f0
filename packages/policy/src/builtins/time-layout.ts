/** Layouts of Go's `time` package: what formats and parses times by example. */
import { daysFromCivil, daysInMonth, type LocalTime, weekdayOf } from './calendar.ts'

export const NAMED_LAYOUTS: ReadonlyMap<string, string> = new Map([
  ['ANSIC', 'Mon Jan _2 15:04:05 2006'],
  ['UnixDate', 'Mon Jan _2 15:04:05 MST 2006'],
  ['RubyDate', 'Mon Jan 02 15:04:05 -0700 2006'],
  ['RFC822', '02 Jan 06 15:04 MST'],
  ['RFC822Z', '02 Jan 06 15:04 -0700'],
  ['RFC850', 'Monday, 02-Jan-06 15:04:05 MST'],
  ['RFC1123', 'Mon, 02 Jan 2006 15:04:05 MST'],
  ['RFC1123Z', 'Mon, 02 Jan 2006 15:04:05 -0700'],
  ['RFC3339', '2006-01-02T15:04:05Z07:00'],
  ['RFC3339Nano', '2006-01-02T15:04:05.999999999Z07:00'],
])

export const MONTHS = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
]
export const WEEKDAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday']

/** Elements of a layout, the longest of those that start alike first. */
const ELEMENT =
  /January|Jan(?![a-z])|Monday|Mon(?![a-z])|MST|2006|__2|002|01|02|03|04|05|06|_2(?!006)|15|PM|pm|-07:00:00|-070000|-07:00|-0700|-07|Z07:00:00|Z070000|Z07:00|Z0700|Z07|[.,]0+(?![0-9])|[.,]9+(?![0-9])|1|2|3|4|5/g

type Piece = { readonly literal: string } | { readonly element: string }

const parsedLayouts = new Map<string, readonly Piece[]>()

function piecesOf(layout: string): readonly Piece[] {
  const known = parsedLayouts.get(layout)
  if (known) return known
  const pieces: Piece[] = []
  let from = 0
  for (const match of layout.matchAll(ELEMENT)) {
    if (match.index > from) pieces.push({ literal: layout.slice(from, match.index) })
    pieces.push({ element: match[0] })
    from = match.index + match[0].length
  }
  if (from < layout.length) pieces.push({ literal: layout.slice(from) })
  if (layout.length > 256) return pieces
  if (parsedLayouts.size > 64) parsedLayouts.clear()
  parsedLayouts.set(layout, pieces)
  return pieces
}

function two(n: number): string {
  return String(n).padStart(2, '0')
}

export function formatTime(t: LocalTime, layout: string): string {
  return piecesOf(layout)
    .map((piece) => ('literal' in piece ? piece.literal : formatElement(t, piece.element)))
    .join('')
}

function formatElement(t: LocalTime, element: string): string {
  const days = daysFromCivil(t.year, t.month, t.day)
  switch (element) {
    case '2006':
      return String(t.year).padStart(4, '0')
    case '06':
      return two(((t.year % 100) + 100) % 100)
    case 'January':
      return MONTHS[t.month - 1] as string
    case 'Jan':
      return (MONTHS[t.month - 1] as string).slice(0, 3)
    case '01':
      return two(t.month)
    case '1':
      return String(t.month)
    case 'Monday':
      return WEEKDAYS[weekdayOf(days)] as string
    case 'Mon':
      return (WEEKDAYS[weekdayOf(days)] as string).slice(0, 3)
    case '02':
      return two(t.day)
    case '_2':
      return String(t.day).padStart(2)
    case '2':
      return String(t.day)
    case '002':
      return String(days - daysFromCivil(t.year, 1, 1) + 1).padStart(3, '0')
    case '__2':
      return String(days - daysFromCivil(t.year, 1, 1) + 1).padStart(3)
    case '15':
      return two(t.hour)
    case '03':
      return two(t.hour % 12 || 12)
    case '3':
      return String(t.hour % 12 || 12)
    case '04':
      return two(t.minute)
    case '4':
      return String(t.minute)
    case '05':
      return two(t.second)
    case '5':
      return String(t.second)
    case 'PM':
      return t.hour >= 12 ? 'PM' : 'AM'
    case 'pm':
      return t.hour >= 12 ? 'pm' : 'am'
    case 'MST':
      return t.zone()
    default:
      return /^[.,]/.test(element) ? formatFraction(t.nanosecond, element) : formatOffset(t.offset, element)
  }
}

function formatFraction(nanosecond: number, element: string): string {
  const digits = String(nanosecond)
    .padStart(9, '0')
    .slice(0, element.length - 1)
  if (element[1] === '0') return element[0] + digits
  const trimmed = digits.replace(/0+$/, '')
  return trimmed === '' ? '' : element[0] + trimmed
}

function formatOffset(offset: number, element: string): string {
  if (element[0] === 'Z' && offset === 0) return 'Z'
  const colon = element.includes(':') ? ':' : ''
  const size = Math.abs(offset)
  let text = `${offset < 0 ? '-' : '+'}${two(Math.floor(size / 3600))}`
  if (element.length > 3) text += colon + two(Math.floor((size % 3600) / 60))
  if (element.replace(/:/g, '').length > 5) text += colon + two(size % 60)
  return text
}

interface Fields {
  year: number
  month: number
  day: number
  yearDay: number | undefined
  hour: number
  minute: number
  second: number
  nanosecond: number
  half: 'AM' | 'PM' | undefined
  offset: number
}

/** A time read by a layout; undefined when the text does not fit. Without a zone it is UTC. */
export function parseTime(
  text: string,
  layout: string,
): (Omit<LocalTime, 'zone'> & { readonly offset: number }) | undefined {
  const fields: Fields = {
    year: 0,
    month: 1,
    day: 1,
    yearDay: undefined,
    hour: 0,
    minute: 0,
    second: 0,
    nanosecond: 0,
    half: undefined,
    offset: 0,
  }
  let rest = text
  const pieces = piecesOf(layout)
  for (let i = 0; i < pieces.length; i++) {
    const piece = pieces[i] as Piece
    const next =
      'literal' in piece
        ? skipLiteral(rest, piece.literal)
        : readElement(fields, rest, piece.element, pieces[i + 1])
    if (next === undefined) return undefined
    rest = next
  }
  return rest === '' ? complete(fields) : undefined
}

function complete(f: Fields) {
  let { month, day, hour } = f
  if (f.yearDay !== undefined) {
    const days = daysFromCivil(f.year, 1, 1) + f.yearDay - 1
    for (month = 1; month < 12 && daysFromCivil(f.year, month + 1, 1) <= days; month++);
    day = days - daysFromCivil(f.year, month, 1) + 1
  }
  if (f.half === 'PM' && hour < 12) hour += 12
  else if (f.half === 'AM' && hour === 12) hour = 0
  const isValid =
    month >= 1 &&
    month <= 12 &&
    day >= 1 &&
    day <= daysInMonth(f.year, month) &&
    hour < 24 &&
    f.minute < 60 &&
    f.second < 60
  if (!isValid) return undefined
  const { year, minute, second, nanosecond, offset } = f
  return { year, month, day, hour, minute, second, nanosecond, offset }
}

/** Runs of spaces match runs of spaces. */
function skipLiteral(text: string, literal: string): string | undefined {
  let t = text
  for (let l = literal; l !== ''; ) {
    if (l[0] === ' ') {
      if (t !== '' && t[0] !== ' ') return undefined
      l = l.replace(/^ +/, '')
      t = t.replace(/^ +/, '')
    } else {
      if (t[0] !== l[0]) return undefined
      t = t.slice(1)
      l = l.slice(1)
    }
  }
  return t
}

function number(text: string, pattern: RegExp, set: (n: number) => void): string | undefined {
  const match = pattern.exec(text)
  if (!match) return undefined
  set(Number(match[0]))
  return text.slice(match[0].length)
}

function name(text: string, names: readonly string[], set: (index: number) => void): string | undefined {
  const lower = text.toLowerCase()
  const index = names.findIndex((candidate) => lower.startsWith(candidate.toLowerCase()))
  if (index < 0) return undefined
  set(index)
  return text.slice((names[index] as string).length)
}

const TWO = /^[0-9]{2}/
const ONE_OR_TWO = /^[0-9]{1,2}/

function readElement(f: Fields, text: string, element: string, next: Piece | undefined): string | undefined {
  switch (element) {
    case '2006':
      return number(text, /^[0-9]{4}/, (n) => (f.year = n))
    case '06':
      return number(text, TWO, (n) => (f.year = n >= 69 ? 1900 + n : 2000 + n))
    case 'January':
      return name(text, MONTHS, (i) => (f.month = i + 1))
    case 'Jan':
      return name(
        text,
        MONTHS.map((month) => month.slice(0, 3)),
        (i) => (f.month = i + 1),
      )
    case '01':
      return number(text, TWO, (n) => (f.month = n))
    case '1':
      return number(text, ONE_OR_TWO, (n) => (f.month = n))
    case 'Monday':
      return name(text, WEEKDAYS, () => {})
    case 'Mon':
      return name(
        text,
        WEEKDAYS.map((day) => day.slice(0, 3)),
        () => {},
      )
    case '02':
      return number(text, TWO, (n) => (f.day = n))
    case '_2':
    case '2':
      return number(text.replace(/^ /, ''), ONE_OR_TWO, (n) => (f.day = n))
    case '002':
    case '__2':
      return number(text.replace(/^ {1,2}/, ''), /^[0-9]{1,3}/, (n) => (f.yearDay = n))
    case '15':
      return number(text, TWO, (n) => (f.hour = n))
    case '03':
      return number(text, TWO, (n) => (f.hour = n))
    case '3':
      return number(text, ONE_OR_TWO, (n) => (f.hour = n))
    case '04':
      return number(text, TWO, (n) => (f.minute = n))
    case '4':
      return number(text, ONE_OR_TWO, (n) => (f.minute = n))
    case '05':
    case '5':
      return readSecond(f, text, element, next)
    case 'PM':
    case 'pm':
      return name(
        text,
        element === 'PM' ? ['AM', 'PM'] : ['am', 'pm'],
        (i) => (f.half = i === 0 ? 'AM' : 'PM'),
      )
    case 'MST':
      return readZoneName(text)
    default:
      return /^[.,]/.test(element) ? readFraction(f, text, element) : readOffset(f, text, element)
  }
}

/** A fraction may follow the seconds even where the layout has none. */
function readSecond(f: Fields, text: string, element: string, next: Piece | undefined): string | undefined {
  const rest = number(text, element === '05' ? TWO : ONE_OR_TWO, (n) => (f.second = n))
  const hasFraction = next !== undefined && 'element' in next && /^[.,]/.test(next.element)
  if (rest === undefined || hasFraction || !/^[.,][0-9]/.test(rest)) return rest
  const digits = /^[.,]([0-9]+)/.exec(rest) as RegExpExecArray
  setFraction(f, digits[1] as string)
  return rest.slice(digits[0].length)
}

function setFraction(f: Fields, digits: string): void {
  f.nanosecond = Number(digits.slice(0, 9).padEnd(9, '0'))
}

function readFraction(f: Fields, text: string, element: string): string | undefined {
  const match = /^[.,]([0-9]+)/.exec(text)
  if (element[1] === '9') {
    if (!match) return text
    setFraction(f, match[1] as string)
    return text.slice(match[0].length)
  }
  const width = element.length - 1
  if (!match || (match[1] as string).length < width) return undefined
  setFraction(f, (match[1] as string).slice(0, width))
  return text.slice(width + 1)
}

function readOffset(f: Fields, text: string, element: string): string | undefined {
  if (element[0] === 'Z' && text[0] === 'Z') return text.slice(1)
  const shape = element.slice(1)
  const pattern =
    shape === '07'
      ? /^([+-])([0-9]{2})/
      : shape === '0700'
        ? /^([+-])([0-9]{2})([0-9]{2})/
        : shape === '07:00'
          ? /^([+-])([0-9]{2}):([0-9]{2})/
          : shape === '070000'
            ? /^([+-])([0-9]{2})([0-9]{2})([0-9]{2})/
            : /^([+-])([0-9]{2}):([0-9]{2}):([0-9]{2})/
  const match = pattern.exec(text)
  if (!match) return undefined
  const [all, sign, hours = '0', minutes = '0', seconds = '0'] = match
  if (Number(hours) > 24 || Number(minutes) > 59 || Number(seconds) > 59) return undefined
  const size = Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds)
  f.offset = sign === '-' ? -size : size
  return text.slice(all.length)
}

/** An abbreviation says nothing certain about the offset, so as in Go it counts as UTC. */
function readZoneName(text: string): string | undefined {
  const match = /^(?:[A-Z]{3,5}|[+-][0-9]{2}(?:[0-9]{2})?)/.exec(text)
  return match ? text.slice(match[0].length) : undefined
}
