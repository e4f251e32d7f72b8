/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A doubly linked list through a node inside each element; container_of() finds the element. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct list_node {
	struct list_node *prev, *next; /* both NULL: in no list */
};

struct list {
	struct list_node head;
};

static inline void list_init(struct list *list)
{
	list->head.prev = list->head.next = &list->head;
}

static inline bool list_empty(const struct list *list)
{
	return list->head.next == &list->head;
}

static inline void list_append(struct list *list, struct list_node *node)
{
	node->prev = list->head.prev;
	node->next = &list->head;
	node->prev->next = node;
	list->head.prev = node;
}

/* Takes the node out of whatever list it is in; nothing happens when it is in none. */
static inline void list_remove(struct list_node *node)
{
	if (!node->next)
		return;
	node->prev->next = node->next;
	node->next->prev = node->prev;
	node->prev = node->next = NULL;
}

static inline struct list_node *list_first(const struct list *list)
{
	return list_empty(list) ? NULL : list->head.next;
}

/* Walks the nodes; the current one may be removed. */
#define LIST_EACH(list, node)                                                                      \
	for (struct list_node *node = (list)->head.next, *next_##node = node->next;                \
		node != &(list)->head; node = next_##node, next_##node = node->next)
