/** Times in nanoseconds since 1970, dates, clocks, durations. */
import type { Context } from '../evaluate/context.ts'
import { isInteger, normalizeInteger } from '../values/number.ts'
import { isArray, isNumber, type Value } from '../values/value.ts'
import { type Builtin, BuiltinError, integerAt, stringAt, wrongKind } from './builtin.ts'
import {
  daysFromCivil,
  daysInMonth,
  type LocalTime,
  localTime,
  momentOf,
  NS_PER_SECOND,
  weekdayOf,
} from './calendar.ts'
import { formatTime, NAMED_LAYOUTS, parseTime, WEEKDAYS } from './time-layout.ts'

type Call = Builtin['call']

const MIN = -(1n << 63n)
const MAX = (1n << 63n) - 1n

interface Moment {
  readonly ns: bigint
  readonly zone: string
  readonly layout: string | undefined
}

/** `ns`, `[ns, zone]` or, where allowed, `[ns, zone, layout]`. */
function momentAt(args: readonly Value[], index: number, maxLength = 2): Moment {
  const v = args[index] as Value
  const [ns, zone = '', layout] = isArray(v) ? v : [v]
  const isShape = !isArray(v) || (v.length >= 1 && v.length <= maxLength)
  if (!isShape || !isNumber(ns as Value)) throw wrongKind(index, 'number or array of number and time zone', v)
  if (typeof zone !== 'string') throw wrongKind(index, 'array with a string as time zone', zone as Value)
  if (layout !== undefined && typeof layout !== 'string') {
    throw wrongKind(index, 'array with a string as layout', layout)
  }
  if (!isInteger(ns as number)) throw wrongKind(index, 'integer', 'floating-point number')
  const moment = BigInt(ns as number | bigint)
  if (moment < MIN || moment > MAX) throw new BuiltinError('timestamp too big', { argument: index + 1 })
  return { ns: moment, zone, layout: layout as string | undefined }
}

function localAt(args: readonly Value[], index: number): LocalTime {
  const { ns, zone } = momentAt(args, index)
  return localTime(ns, zone)
}

function inRange(ns: bigint): Value {
  if (ns < MIN || ns > MAX) throw new BuiltinError('time outside of valid range')
  return normalizeInteger(ns)
}

const now: Call = (_args, context: Context) => normalizeInteger(context.now)

const date: Call = (args) => {
  const { year, month, day } = localAt(args, 0)
  return [year, month, day]
}

const clock: Call = (args) => {
  const { hour, minute, second } = localAt(args, 0)
  return [hour, minute, second]
}

const weekday: Call = (args) => {
  const { year, month, day } = localAt(args, 0)
  return WEEKDAYS[weekdayOf(daysFromCivil(year, month, day))] as string
}

/** Years beyond this have no date at all in upstream's calendar. */
const MAX_YEAR = 262_142

/** Adds years, months and days as Go does: what overflows a month goes on in the next. */
const addDate: Call = (args) => {
  const { ns, zone } = momentAt(args, 0)
  const [years, months, days] = [1, 2, 3].map((i) => Number(integerAt(args, i))) as [number, number, number]
  const local = localTime(ns, zone)
  const year = local.year + years + Math.trunc(months / 12)
  if (Math.abs(year) > MAX_YEAR || Math.abs(days) > 366 * MAX_YEAR) return undefined
  const midnight = daysFromCivil(local.year + years, local.month + months, 1) + local.day - 1 + days
  if (zone === '' || zone === 'UTC') {
    const seconds = midnight * 86_400 + local.hour * 3600 + local.minute * 60 + local.second
    return inRange(BigInt(seconds) * NS_PER_SECOND + BigInt(local.nanosecond))
  }
  return inRange(momentOf({ ...local, year: 1970, month: 1, day: midnight + 1 }, zone))
}

/** Years, months, days, hours, minutes and seconds between two moments, whichever comes first. */
const difference: Call = (args) => {
  const first = momentAt(args, 0)
  const second = momentAt(args, 1)
  const [from, to] = first.ns <= second.ns ? [first, second] : [second, first]
  const a = localTime(from.ns, from.zone)
  const b = localTime(to.ns, from.zone)
  let years = b.year - a.year
  let months = b.month - a.month
  let days = b.day - a.day
  let hours = b.hour - a.hour
  let minutes = b.minute - a.minute
  let seconds = b.second - a.second
  if (b.nanosecond < a.nanosecond) seconds--
  if (seconds < 0) {
    seconds += 60
    minutes--
  }
  if (minutes < 0) {
    minutes += 60
    hours--
  }
  if (hours < 0) {
    hours += 24
    days--
  }
  if (days < 0) {
    days += daysInMonth(a.year, a.month)
    months--
  }
  if (months < 0) {
    months += 12
    years--
  }
  return [years, months, days, hours, minutes, seconds]
}

const format: Call = (args, context) => {
  const { ns, zone, layout } = momentAt(args, 0, 3)
  context.growString((layout?.length ?? 0) * 8 + 64)
  // names of zones are looked up in tables of several regions
  if (zone !== '' && layout !== undefined) context.charge(1_024)
  const local = localTime(ns, zone)
  if (layout !== undefined) return formatTime(local, NAMED_LAYOUTS.get(layout) ?? layout)
  const whole = formatTime(local, '2006-01-02T15:04:05')
  // as upstream: no fraction, or thousandths, millionths, billionths
  const fraction = String(local.nanosecond)
    .padStart(9, '0')
    .replace(/(000)+$/, '')
  const shown = fraction === '' ? '' : `.${fraction}`
  return `${whole}${shown}${formatTime(local, 'Z07:00')}`
}

function parse(text: string, layout: string): Value {
  const local = parseTime(text, layout)
  if (!local) throw new BuiltinError('the text does not fit the layout of the time')
  return inRange(momentOf(local, '') - BigInt(local.offset) * NS_PER_SECOND)
}

const DURATION_UNITS: Readonly<Record<string, bigint>> = {
  ns: 1n,
  us: 1_000n,
  µs: 1_000n,
  μs: 1_000n,
  ms: 1_000_000n,
  s: NS_PER_SECOND,
  m: 60n * NS_PER_SECOND,
  h: 3600n * NS_PER_SECOND,
}

const parseDuration: Call = (args) => {
  const text = stringAt(args, 0)
  const invalid = new BuiltinError('invalid duration', { argument: 1 })
  if (text.length > 256) throw invalid
  const [, sign, body = ''] = /^([+-]?)(.*)$/s.exec(text) as RegExpExecArray
  if (body === '0') return 0
  const part = /([0-9]*)(?:\.([0-9]*))?(ns|us|µs|μs|ms|s|m|h)/y
  let total = 0n
  let position = 0
  while (position < body.length) {
    part.lastIndex = position
    const match = part.exec(body)
    const [, whole = '', fraction = '', unit = ''] = match ?? []
    if (!match || (whole === '' && fraction === '')) throw invalid
    const size = DURATION_UNITS[unit] as bigint
    total += BigInt(whole || '0') * size + (BigInt(fraction || '0') * size) / 10n ** BigInt(fraction.length)
    position = part.lastIndex
  }
  if (body === '') throw invalid
  return inRange(sign === '-' ? -total : total)
}

export const timeBuiltins: readonly Builtin[] = [
  { name: 'time.now_ns', arity: 0, tier: 1, call: now },
  { name: 'time.date', arity: 1, tier: 1, call: date },
  { name: 'time.clock', arity: 1, tier: 1, call: clock },
  { name: 'time.weekday', arity: 1, tier: 1, call: weekday },
  { name: 'time.add_date', arity: 4, tier: 1, call: addDate },
  { name: 'time.diff', arity: 2, tier: 1, call: difference },
  { name: 'time.format', arity: 1, tier: 1, call: format },
  {
    name: 'time.parse_ns',
    arity: 2,
    tier: 1,
    call: (args, context) => {
      const layout = stringAt(args, 0)
      context.charge(layout.length / 4)
      return parse(stringAt(args, 1), NAMED_LAYOUTS.get(layout) ?? layout)
    },
  },
  {
    name: 'time.parse_rfc3339_ns',
    arity: 1,
    tier: 0,
    call: (args) => parse(stringAt(args, 0), NAMED_LAYOUTS.get('RFC3339') as string),
  },
  { name: 'time.parse_duration_ns', arity: 1, tier: 1, call: parseDuration },
]
