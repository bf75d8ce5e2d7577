/* SPDX-License-Identifier: Apache-2.0 */
/*
 * USART1 to the radio MCU. What is no frame is dropped without an answer: the
 * radio MCU repeats a command after 50 ms.
 */
#include "motor.h"
#include "stm32l4.h"

/* A frame whose bytes are further apart than this was cut off. */
enum { GAP_MS = 20 };

/* Bytes from the interrupt to the main loop. The indices run free; a power of
 * two makes their difference right when they wrap. */
enum { RING = 64 };
static volatile uint8_t ring[RING];
static volatile uint32_t head; /* written by the interrupt */
static volatile uint32_t tail; /* written by the main loop */

void link_init(void)
{
	RCC_AHB2ENR |= RCC_GPIOA;
	RCC_APB2ENR |= RCC_USART1;
	RCC_APB2RSTR |= RCC_USART1;
	RCC_APB2RSTR &= ~RCC_USART1;
	RCC_CCIPR &= ~RCC_USART1SEL; /* clocked by PCLK2, 4 MHz */

	GPIOA_AFRH = (GPIOA_AFRH & ~0xff0u) | 0x770u;         /* PA9, PA10: USART1 */
	GPIOA_PUPDR = (GPIOA_PUPDR & ~(3u << 20)) | 1u << 20; /* idle high while the radio MCU resets */
	GPIOA_MODER = (GPIOA_MODER & ~(0xfu << 18)) | 0xau << 18;

	USART1_BRR = 104; /* 4 MHz / 104 = 38462 baud, +0.2 % */
	USART1_CR1 = USART_UE | USART_RE | USART_TE | USART_RXNEIE;
	NVIC_ISER1 = 1u << (USART1_IRQ - 32);
}

void uart_handler(void)
{
	USART1_ICR = USART_ERRORS; /* the CRC finds what they cost */
	while (USART1_ISR & USART_RXNE) {
		uint8_t byte = (uint8_t)USART1_RDR;
		if (head - tail < RING) {
			ring[head % RING] = byte;
			head++;
		}
	}
}

uint8_t link_receive(uint8_t body[FRAME_MAX])
{
	static struct frame_reader reader;
	static uint32_t last; /* when the last byte came */

	if (now() - last > GAP_MS)
		reader.next = FRAME_START;
	while (tail != head) {
		uint8_t length = frame_read(&reader, ring[tail % RING]);
		tail++;
		last = now();
		for (uint8_t i = 0; i < length; i++)
			body[i] = reader.body[i];
		if (length > 0)
			return length;
	}
	return 0;
}

void link_send(const uint8_t *body, uint8_t length)
{
	uint8_t frame[FRAME_MAX + FRAME_OVERHEAD];
	uint8_t size = frame_write(frame, body, length);

	for (uint8_t i = 0; i < size; i++) {
		while (!(USART1_ISR & USART_TXE)) {
		}
		USART1_TDR = frame[i];
	}
	while (!(USART1_ISR & USART_TC)) {
	}
}
