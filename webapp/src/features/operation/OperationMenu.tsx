import { Button, Menu } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useNavigate } from '@tanstack/react-router'
import { IconDots } from '@tabler/icons-react'
import type { ReactNode } from 'react'
import type { OperationType } from '@/api/types'
import { operationTypesQuery } from './api'
import { openOperation } from './dialog'
import { handMadePages } from './handmade'

interface Props {
  target: { kind: 'host' | 'instance'; id: string; name: string }
  // The operations most used in this state; they are buttons, the rest is in the menu.
  first: string[]
  // An instance that was only discovered can be adopted, little else.
  managed?: boolean
  // Those that make no sense in this state.
  without?: string[]
  // The page has a main button already.
  secondary?: boolean
  extra?: ReactNode
  dangers?: ReactNode
}

const rank: Record<OperationType['risk'], number> = { read: 0, change: 1, disrupt: 2, destroy: 3 }

// OperationMenu offers every operation on an object, by its declared target; destructive ones last and red.
export function OperationMenu({ target, first, managed = true, without = [], secondary = false, extra, dangers }: Props) {
  const navigate = useNavigate()
  const types = (useQuery(operationTypesQuery).data ?? [])
    .filter((type) => type.target === target.kind && type.allowed && (managed || type.unmanaged) && !without.includes(type.name))
    .sort((a, b) => rank[a.risk] - rank[b.risk])
  const buttons = first.map((name) => types.find((type) => type.name === name)).filter((type) => type !== undefined)
  const rest = types.filter((type) => !first.includes(type.name))
  const calm = rest.filter((type) => type.risk !== 'destroy')
  const destructive = rest.filter((type) => type.risk === 'destroy')

  const open = (type: OperationType) => {
    const page = handMadePages[type.name]
    if (page) void navigate({ to: page, search: { [`${target.kind}_id`]: target.id } })
    else openOperation({ name: type.name, target })
  }
  const short = (type: OperationType) => type.title.replace(new RegExp(` (an? |the )?${target.kind}$`, 'i'), '')

  if (types.length === 0 && !extra && !dangers) return null
  return (
    <>
      {buttons.map((type, index) => (
        <Button key={type.name} variant={index === 0 && !secondary ? 'filled' : 'default'} onClick={() => open(type)}>
          {short(type)}
        </Button>
      ))}
      <Menu>
        <Menu.Target>
          <Button variant="default" px={10} aria-label={`More actions on ${target.name}`}>
            <IconDots size={18} />
          </Button>
        </Menu.Target>
        <Menu.Dropdown miw={200}>
          {extra}
          {calm.map((type) => (
            <Menu.Item key={type.name} onClick={() => open(type)}>
              {type.title}
            </Menu.Item>
          ))}
          {(destructive.length > 0 || dangers) && (calm.length > 0 || extra) ? <Menu.Divider /> : null}
          {dangers}
          {destructive.map((type) => (
            <Menu.Item key={type.name} className="danger" onClick={() => open(type)}>
              {type.title}
            </Menu.Item>
          ))}
        </Menu.Dropdown>
      </Menu>
    </>
  )
}
