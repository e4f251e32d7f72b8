/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Circular doubly linked list, intrusive: an element embeds a struct link and is found again with
 * container_of(). A link that is in no list points at itself, so removal is safe at any time.
 */
#pragma once

#include <stdbool.h>

struct link {
	struct link *prev;
	struct link *next;
};

static inline void link_init(struct link *link)
{
	link->prev = link;
	link->next = link;
}

/* True for a head with no element and for an element in no list. */
static inline bool link_alone(const struct link *link)
{
	return link->next == link;
}

/* Appends an element that is in no list. */
static inline void link_append(struct link *head, struct link *element)
{
	element->prev = head->prev;
	element->next = head;
	head->prev->next = element;
	head->prev = element;
}

static inline void link_remove(struct link *element)
{
	element->prev->next = element->next;
	element->next->prev = element->prev;
	link_init(element);
}
