/** Days, clocks and time zones without the machine's clock or zone. */
import { BuiltinError } from './builtin.ts'

export const NS_PER_SECOND = 1_000_000_000n

/** A local date and time. Months and days count from 1. */
export interface LocalTime {
  readonly year: number
  readonly month: number
  readonly day: number
  readonly hour: number
  readonly minute: number
  readonly second: number
  readonly nanosecond: number
  /** Seconds east of Greenwich. */
  readonly offset: number
  /** Gives the abbreviation of the zone, such as `UTC` or `CET`, which takes a while to find. */
  readonly zone: () => string
}

/** Days since 1970-01-01 of a date in the proleptic Gregorian calendar; months may overflow. */
export function daysFromCivil(year: number, month: number, day: number): number {
  const y = year + Math.floor((month - 1) / 12)
  const m = ((((month - 1) % 12) + 12) % 12) + 1
  const shifted = m <= 2 ? y - 1 : y
  const era = Math.floor(shifted / 400)
  const yearOfEra = shifted - era * 400
  const dayOfYear = Math.floor((153 * (m + (m > 2 ? -3 : 9)) + 2) / 5) + day - 1
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear
  return era * 146_097 + dayOfEra - 719_468
}

export function civilFromDays(days: number): { year: number; month: number; day: number } {
  const z = days + 719_468
  const era = Math.floor(z / 146_097)
  const dayOfEra = z - era * 146_097
  const yearOfEra = Math.floor(
    (dayOfEra -
      Math.floor(dayOfEra / 1460) +
      Math.floor(dayOfEra / 36_524) -
      Math.floor(dayOfEra / 146_096)) /
      365,
  )
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100))
  const mp = Math.floor((5 * dayOfYear + 2) / 153)
  const day = dayOfYear - Math.floor((153 * mp + 2) / 5) + 1
  const month = mp + (mp < 10 ? 3 : -9)
  return { year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day }
}

export function daysInMonth(year: number, month: number): number {
  return daysFromCivil(year, month + 1, 1) - daysFromCivil(year, month, 1)
}

/** 0 is Sunday. */
export function weekdayOf(days: number): number {
  return (((days + 4) % 7) + 7) % 7
}

export function floorDivide(a: bigint, b: bigint): bigint {
  const quotient = a / b
  return a % b !== 0n && a < 0n !== b < 0n ? quotient - 1n : quotient
}

const formatters = new Map<string, Intl.DateTimeFormat>()

function formatterOf(zone: string, locale = 'en-US'): Intl.DateTimeFormat {
  const key = `${locale} ${zone}`
  let formatter = formatters.get(key)
  if (!formatter) {
    if (!/^[A-Za-z][A-Za-z0-9_+\-/]*$/.test(zone)) throw new BuiltinError('unknown time zone')
    try {
      formatter = new Intl.DateTimeFormat(locale, {
        timeZone: zone,
        hourCycle: 'h23',
        year: 'numeric',
        month: 'numeric',
        day: 'numeric',
        hour: 'numeric',
        minute: 'numeric',
        second: 'numeric',
        era: 'short',
        timeZoneName: 'short',
      })
    } catch {
      throw new BuiltinError('unknown time zone')
    }
    if (formatters.size > 64) formatters.clear()
    formatters.set(key, formatter)
  }
  return formatter
}

/** `Local` is UTC here, since nothing of the machine is visible. */
function isUtc(zone: string): boolean {
  return zone === '' || zone === 'UTC' || zone === 'Local'
}

/** Seconds by which a zone is ahead of UTC at a moment. */
function offsetAt(zone: string, seconds: number): number {
  if (isUtc(zone)) return 0
  const parts = new Map<string, string>()
  for (const { type, value } of formatterOf(zone).formatToParts(seconds * 1000)) parts.set(type, value)
  const part = (name: string) => Number(parts.get(name))
  const year = parts.get('era') === 'BC' ? 1 - part('year') : part('year')
  const days = daysFromCivil(year, part('month'), part('day'))
  return days * 86_400 + part('hour') * 3600 + part('minute') * 60 + part('second') - seconds
}

/** A locale knows the abbreviations that are usual where it is spoken. */
const LOCALES = ['en-US', 'en-GB', 'en-AU', 'en-IN', 'ja-JP', 'en-ZA', 'en-HK', 'en-PK']

/** Zones whose abbreviation no locale has, in winter and in summer. */
const ABBREVIATIONS: Readonly<Record<string, readonly [string, string]>> = {
  'Asia/Jakarta': ['WIB', 'WIB'],
  'Asia/Jerusalem': ['IST', 'IDT'],
  'Asia/Manila': ['PST', 'PST'],
  'Asia/Seoul': ['KST', 'KST'],
  'Asia/Shanghai': ['CST', 'CST'],
  'Asia/Taipei': ['CST', 'CST'],
  'Europe/Dublin': ['GMT', 'IST'],
  'Europe/Moscow': ['MSK', 'MSK'],
  GMT: ['GMT', 'GMT'],
}

function abbreviationAt(zone: string, seconds: number): string {
  if (isUtc(zone)) return 'UTC'
  const offset = offsetAt(zone, seconds)
  const january = offsetAt(
    zone,
    daysFromCivil(civilFromDays(Math.floor(seconds / 86_400)).year, 1, 1) * 86_400,
  )
  if (Object.hasOwn(ABBREVIATIONS, zone)) return ABBREVIATIONS[zone]?.[offset === january ? 0 : 1] as string
  for (const locale of LOCALES) {
    const parts = formatterOf(zone, locale).formatToParts(seconds * 1000)
    const name = parts.find(({ type }) => type === 'timeZoneName')?.value ?? ''
    if (/^[A-Z]{3,5}$/.test(name) && name !== 'GMT') return name
  }
  return offset === 0 ? 'GMT' : numericName(offset)
}

/** As the time zone database writes zones without a name: `+05`, `-0330`. */
function numericName(offset: number): string {
  const minutes = Math.abs(Math.trunc(offset / 60))
  const hours = String(Math.floor(minutes / 60)).padStart(2, '0')
  const rest = minutes % 60 === 0 ? '' : String(minutes % 60).padStart(2, '0')
  return `${offset < 0 ? '-' : '+'}${hours}${rest}`
}

/** The local time of a moment in nanoseconds. */
export function localTime(ns: bigint, zone: string): LocalTime {
  const seconds = floorDivide(ns, NS_PER_SECOND)
  const offset = offsetAt(zone, Number(seconds))
  return {
    ...clockOf(Number(seconds) + offset),
    nanosecond: Number(ns - seconds * NS_PER_SECOND),
    offset,
    zone: () => abbreviationAt(zone, Number(seconds)),
  }
}

function clockOf(localSeconds: number) {
  const days = Math.floor(localSeconds / 86_400)
  const rest = localSeconds - days * 86_400
  const { year, month, day } = civilFromDays(days)
  return {
    year,
    month,
    day,
    hour: Math.floor(rest / 3600),
    minute: Math.floor((rest % 3600) / 60),
    second: rest % 60,
  }
}

/** The moment of a local time in a zone; the earlier offset counts where the clock is turned back. */
export function momentOf(local: Omit<LocalTime, 'offset' | 'zone'>, zone: string): bigint {
  const { year, month, day, hour, minute, second, nanosecond } = local
  const wall = daysFromCivil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second
  const guess = wall - offsetAt(zone, wall)
  const seconds = wall - offsetAt(zone, guess)
  return BigInt(seconds) * NS_PER_SECOND + BigInt(nanosecond)
}
